"""The panel next to the timeline: personas, members, and the runs of today."""

from collections.abc import Sequence
from typing import Any

from django.db.models import Count, F, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import pgettext

from rooms.models import Room, RoomRole, RunState
from rooms.pages.answering import answering_label
from rooms.pages.namesakes import Namesakes
from rooms.protocol.payloads import MemberBody, RoomState


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
        "pins": state.pins,
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


def _by_role(members: Sequence[MemberBody]) -> list[MemberBody]:
    """Sort owners first, then by name."""
    return sorted(members, key=lambda m: (m.role != RoomRole.OWNER, m.name.casefold()))


def _today(room: Room) -> dict[str, int]:
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    done = room.runs.filter(state=RunState.COMPLETED, ended_at__gte=midnight)
    tokens = Coalesce(Sum(F("input_tokens") + F("output_tokens")), 0)
    return done.aggregate(answers=Count("pk"), tokens=tokens)
