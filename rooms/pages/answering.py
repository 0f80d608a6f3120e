"""The words that say who answers a message, and why: the composer's line, and an answer's foot.

`static/rooms/composer/answers_menu.js` and `static/rooms/timeline/message_view.js` have the same.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from accounts.particles import fill
from rooms.models import AnswerPolicy, Why
from rooms.protocol.payloads import PersonaBody, RoomState
from rooms.runs.responders import (
    Addressed,
    Answering,
    Candidate,
    Place,
    Silence,
    responders,
    silence,
)

NOWHERE: Final = Place()


@dataclass(frozen=True, slots=True)
class AnsweringLine:
    """A sentence and its reason; `names` stand in the sentence between `before` and `after`."""

    before: str
    names: str
    after: str
    why: str


def answering_line(
    state: RoomState, unusable: Collection[UUID], place: Place = NOWHERE
) -> AnsweringLine:
    """Return who answers a message without a mention, written by a user at this place.

    `unusable` are the personas that the user may not ask.
    """
    message, answering = Addressed(place=place), _answering(state, unusable)
    answers = responders(message, answering)
    if not answers:
        reason = _silence_words(silence(message, answering), state.personas)
        return _line(pgettext("nobody", "%(names)s will answer:"), _("Nobody"), reason)
    names = {persona.id: persona.name for persona in state.personas}
    name, *others = (names[persona_id] for persona_id, _why in answers)
    if others:  # in turn: otherwise only mentions and choices ask several
        then = (
            _("%(name)s, then %(next)s") if len(others) == 1 else _("%(name)s, then %(count)s more")
        )
        shown = fill(then, {"name": name, "next": others[0], "count": len(others)})
        return _line(_("%(names)s will answer:"), shown, _("in turn"))
    ((_persona, why),) = answers
    reason = {
        Why.REPLY: fill(_("reply to %(name)s"), {"name": name}),
        Why.THREAD: _("follows this thread"),
        Why.POLICY: _("answers here by default"),
    }[why]
    return _line(_("%(names)s will answer:"), name, reason)


def answering_persona(state: RoomState) -> PersonaBody | None:
    """Return the persona that answers a message without a mention; None if no persona does."""
    asked = {persona for persona, _why in responders(Addressed(), _answering(state))}
    return next((persona for persona in state.personas if persona.id in asked), None)


def why_words(why: str) -> str:
    """Return why an answer was given, as a part of a sentence; "" for ""."""
    if not why:
        return ""
    return {
        Why.NAMED: _("because it was chosen"),
        Why.MENTION: _("because it was mentioned"),
        Why.REPLY: _("because of a reply to it"),
        Why.THREAD: _("because it follows this thread"),
        Why.POLICY: _("because it answers here by default"),
        Why.RETRY: _("because it was asked again"),
        Why.ROUND: _("because it was its turn"),
        Why.LED: _("because another persona asked it"),
    }[Why(why)]


def answering_label(state: RoomState, persona: PersonaBody) -> str:
    """Return a label for the messages that a persona answers in this room."""
    if not persona.enabled:
        return _("Switched off")
    if state.room.answer_policy == AnswerPolicy.OFF:
        return _("Only when chosen")
    if persona.id in state.room.muted_personas:
        return _("Muted: answers when mentioned")
    if any(persona.id == each for each, _why in responders(Addressed(), _answering(state))):
        return _("Answers all")
    return _("When mentioned")


def has_answering_persona(state: RoomState) -> bool:
    """Return True if a persona of the room is switched on."""
    return any(persona.enabled for persona in state.personas)


def _answering(state: RoomState, unusable: Collection[UUID] = ()) -> Answering:
    personas = [
        Candidate(each.id, each.handle, each.enabled)
        for each in state.personas
        if each.id not in unusable
    ]
    room = state.room
    return Answering(
        room.answer_policy,
        personas,
        room.default_persona,
        room.muted_personas,
        mode=room.mode,
        lead=room.lead,
    )


def _line(sentence: str, names: str, why: str) -> AnsweringLine:
    before = sentence.partition("%(names)s")[0]
    after = fill(sentence, {"names": names})[len(before) + len(names) :]
    return AnsweringLine(before, names, after, why)


def _silence_words(reason: Silence, personas: Sequence[PersonaBody]) -> str:
    return {
        Silence.NAMED: _("you chose"),
        Silence.OFF: _("no persona answers in this room"),
        Silence.MENTION: _("only when a persona is named"),
        Silence.PERSON: _("to a person"),
        Silence.ABSENT: _("no persona answers here by default")
        if personas
        else _("there is no persona in this room"),
    }[reason]
