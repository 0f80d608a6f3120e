"""Decides which personas answer a message, and why: `responders`, for every way in.

The composer's line applies the same rules before a message is sent: `static/rooms/responders.js`.
`tests/rooms/runs/responders.json` has the cases that both pass.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from django.db.models import UUIDField

from accounts.database.prepared_queries import PreparedQuery
from accounts.errors import NotFound
from accounts.models import User
from agents.models import Persona
from agents.permissions import usable_by
from rooms.models import AnswerPolicy, Room, RoomMode, Why

MAX_IN_TURN: Final = 8
"""The personas that answer one message in turn; `MARU_ANSWERS_PER_MESSAGE` may allow fewer."""


class Silence(StrEnum):
    """Why no persona answers a message."""

    NAMED = "named"  # the author has chosen it
    OFF = "off"  # the policy of the room
    MENTION = "mention"  # the policy: only mentioned personas answer
    PERSON = "person"  # the message is for a person
    ABSENT = "absent"  # no persona of the room answers by default


Choice = list[tuple[UUID, Why]]
"""The ids of personas that answer, in the order in which they were bound, each with the reason."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A persona that is bound to the room and that the author of the message may use."""

    id: UUID
    handle: str
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Answering:
    """What a room says about who answers; `personas` are in the order in which they were bound.

    `lead` is the persona that leads in the mode `led`; without one, the default persona leads.
    """

    policy: str
    personas: Sequence[Candidate]
    default: UUID | None = None
    muted: Collection[UUID] = ()
    mode: str = RoomMode.EACH
    lead: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The place of a message among other messages: what it replies to, and its thread.

    `replied_to` is the persona whose message it replies to; `follows` is the persona that was asked
    last in its thread. `to_person` is True for a reply to a message of a person inside a thread;
    the root does not count, because each message of a thread may name it.
    """

    replied_to: UUID | None = None
    in_thread: bool = False
    follows: UUID | None = None
    to_person: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressed:
    """What a message says about who answers.

    `mentioned` are the handles that the page shows as mentions. `named` overrides the policy of the
    room: with an empty collection, no persona answers. With `mentions_first`, mentioned personas
    override a `named` that is not empty. With `in_turn`, personas answer as in the mode `round`.
    """

    mentioned: Collection[str] = ()
    named: Collection[UUID] | None = None
    mentions_first: bool = False
    in_turn: bool = False
    place: Place = Place()


def is_in_turn(message: Addressed, mode: str) -> bool:
    """Return True if several personas answer a message in turn."""
    return message.in_turn or mode == RoomMode.ROUND


def responders(message: Addressed, room: Answering) -> Choice:
    """Return the personas that answer a message, each with the reason. The first rule decides.

    The rules: named by the client, mentioned, replied to, followed up in a thread, the policy. A
    muted persona answers only if it is named or mentioned. A message in a thread that is for a
    person gets no answer by the last two rules. Personas that answer in turn do so in the order of
    their names or mentions; by the policy `default`, all of the room do, at most MAX_IN_TURN.
    """
    mentioned = [each for each in room.personas if each.handle in message.mentioned]
    named = [each for each in room.personas if each.id in (message.named or ())]
    if is_in_turn(message, room.mode):
        mentioned.sort(key=lambda each: list(message.mentioned).index(each.handle))
        named.sort(key=lambda each: list(message.named or ()).index(each.id))
    if message.named is not None:
        if message.mentions_first and named and mentioned:
            return _because(Why.MENTION, mentioned)
        return _because(Why.NAMED, named)
    if room.policy == AnswerPolicy.OFF:
        return []
    return _because(Why.MENTION, mentioned) or _unnamed(message, room)


def _unnamed(message: Addressed, room: Answering) -> Choice:
    """Return the personas that answer a message that names and mentions none."""
    place, listening = message.place, [each for each in room.personas if each.id not in room.muted]
    if replied_to := [each for each in listening if each.id == place.replied_to]:
        return _because(Why.REPLY, replied_to)
    if _is_for_person(message):
        return []
    follows = [each for each in listening if place.in_thread and each.id == place.follows]
    if follows and room.policy in (AnswerPolicy.DEFAULT, AnswerPolicy.THREAD):
        return _because(Why.THREAD, follows)
    if room.policy == AnswerPolicy.DEFAULT:
        return _by_default(message, room, listening)
    return []


def _by_default(message: Addressed, room: Answering, listening: Sequence[Candidate]) -> Choice:
    """Return the personas that the policy `default` chooses: one, or all if they answer in turn."""
    if is_in_turn(message, room.mode):
        return _because(Why.POLICY, [each for each in listening if each.enabled][:MAX_IN_TURN])
    lead = [each for each in listening if each.id == room.lead and room.mode == RoomMode.LED]
    return _because(Why.POLICY, lead or _default(room, listening))


def _is_for_person(message: Addressed) -> bool:
    """Return True for a message in a thread to a person; the caller has looked for personas."""
    return message.place.in_thread and (message.place.to_person or bool(message.mentioned))


def silence(message: Addressed, room: Answering) -> Silence:
    """Return the reason why no persona answers a message for which `responders` returns none."""
    if message.named is not None:
        return Silence.NAMED
    if room.policy == AnswerPolicy.OFF:
        return Silence.OFF
    if _is_for_person(message):
        return Silence.PERSON
    return Silence.ABSENT if room.policy == AnswerPolicy.DEFAULT else Silence.MENTION


def _default(room: Answering, listening: Sequence[Candidate]) -> list[Candidate]:
    """Return the default persona, or without one the first that is switched on.

    A default persona that is muted is not replaced by another one.
    """
    if any(each.id == room.default for each in room.personas):
        return [each for each in listening if each.id == room.default]
    return [each for each in listening if each.enabled][:1]


def _because(why: Why, personas: Iterable[Candidate]) -> Choice:
    return [(each.id, why) for each in personas]


_USABLE: Final = PreparedQuery(
    lambda user, room: usable_by(
        user, Persona.objects.filter(bindings__room=room).order_by("bindings__pk")
    ),
    user=UUIDField(),
    room=UUIDField(),
)
"""The personas of a room that a user may use, in the order in which they were bound."""


def usable_personas(room_id: UUID, user_id: UUID) -> list[Persona]:
    """Return the personas of a room that a user may use, in the order of their binding."""
    return _USABLE(user=user_id, room=room_id)


def choose(room: Room, user: User, message: Addressed) -> list[tuple[Persona, Why]]:
    """Return the personas that answer a message of `user`; one query.

    Personas that the user may not use are left out. Raises NotFound if `message.named` has a
    persona that is not bound to the room.
    """
    bound = {persona.pk: persona for persona in usable_personas(room.pk, user.pk)}
    if message.named is not None and not set(message.named) <= bound.keys():
        raise NotFound
    candidates = [Candidate(each.pk, each.handle, each.enabled) for each in bound.values()]
    muted = {UUID(persona_id) for persona_id in room.muted_personas}
    answering = Answering(
        room.answer_policy,
        candidates,
        room.default_persona_id,
        muted,
        mode=room.mode,
        lead=room.lead_id,
    )
    return [(bound[persona_id], why) for persona_id, why in responders(message, answering)]
