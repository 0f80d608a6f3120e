"""The panel next to the timeline: personas, members, and the runs of today."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import Count, F, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from rooms.models import AnswerPolicy, Room, RoomRole, RunState
from rooms.pages.namesakes import Namesakes
from rooms.protocol.payloads import MemberBody, PersonaBody, RoomState


def panel_context(room: Room, state: RoomState) -> dict[str, Any]:
    """Return the template context of the panel."""
    words, namesakes = role_words(), Namesakes(state)
    return {
        "personas": [
            (each, answering_label(state, each), namesakes.handle(each.id, each.name, each.handle))
            for each in state.personas
        ],
        "people": [
            (each, words[each.role], namesakes.handle(each.user, each.name, each.handle))
            for each in _by_role(state.members)
        ],
        "people_count": state.room.member_count,
        "answering": answering(state),
        "today": _today(room),
    }


def role_words() -> dict[str, str]:
    """Return the label of each role; the ordinary role, member, has none."""
    return {
        RoomRole.OWNER.value: pgettext("role in a room", "Owner"),
        RoomRole.MODERATOR.value: pgettext("role in a room", "Moderator"),
        RoomRole.MEMBER.value: "",
        RoomRole.READER.value: pgettext("role in a room", "Reader"),
    }


def answering_label(state: RoomState, persona: PersonaBody) -> str:
    """Return a label for the messages that a persona answers in this room."""
    if not persona.enabled:
        return _("Switched off")
    if state.room.answer_policy == AnswerPolicy.OFF:
        return _("Only when chosen")
    if state.room.answer_policy == AnswerPolicy.DEFAULT and persona.id == default_responder(state):
        return _("Answers all messages")
    return _("Answers when mentioned")


def default_responder(state: RoomState) -> UUID | None:
    """Return the persona that answers messages without a mention, under the policy `default`."""
    if any(persona.id == state.room.default_persona for persona in state.personas):
        return state.room.default_persona
    return next((persona.id for persona in state.personas if persona.enabled), None)


def answering(state: RoomState) -> str:
    """Return a label that names who answers a message without a mention."""
    if state.room.answer_policy in (AnswerPolicy.MENTION, AnswerPolicy.THREAD):
        return _("mentioned personas")
    usual = default_responder(state) if state.room.answer_policy == AnswerPolicy.DEFAULT else None
    names = [persona.name for persona in state.personas if persona.id == usual]
    return names[0] if names else _("no persona")


def _by_role(members: Sequence[MemberBody]) -> list[MemberBody]:
    """Sort owners first, then by name."""
    return sorted(members, key=lambda m: (m.role != RoomRole.OWNER, m.name.casefold()))


def _today(room: Room) -> dict[str, int]:
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    done = room.runs.filter(state=RunState.COMPLETED, ended_at__gte=midnight)
    tokens = Coalesce(Sum(F("input_tokens") + F("output_tokens")), 0)
    return done.aggregate(answers=Count("pk"), tokens=tokens)
