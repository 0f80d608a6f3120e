"""The items of a timeline as the server renders them; `timeline_view.js` updates them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

from msgspec import UNSET

from accounts.models import User, Wood
from agents.models import Lattice, Pigment
from rooms.models import ACTIVE, Run
from rooms.pages.acting.asks import Ask, asks_of, waits_for
from rooms.pages.acting.round_strip import Strip, round_strip
from rooms.pages.acting.steering_lines import SteeringLine, steering_lines
from rooms.pages.acting.step_lines import StepLines, step_lines
from rooms.pages.answering import why_words
from rooms.pages.layout import RULES, Placed, StateRules, place
from rooms.pages.namesakes import Namesakes
from rooms.permissions import MODERATE, POST
from rooms.protocol.payloads import Author, MessageBody, RoomState, RunBody
from rooms.protocol.serializers import run_body


@dataclass(frozen=True, slots=True)
class Speaker:
    """The author of an item, with the appearance of the avatar.

    `in_room` is True for known members and personas of the room: their names open profile cards.
    """

    kind: str
    id: UUID | None
    name: str
    in_room: bool = False
    shown_handle: str = ""
    role: str = ""
    pigment: str = Pigment.MEOK.value
    lattice: str = Lattice.GYEOKSAL.value
    wood: str = Wood.PAULOWNIA.value


@dataclass(frozen=True, slots=True)
class Reaction:
    """An emoji, the number of users who reacted with it, and whether the reader is one of them.

    `names` are the known ones of these users; a large room does not know all of its members.
    """

    emoji: str
    count: int
    mine: bool
    names: str = ""


@dataclass(frozen=True, slots=True)
class ThreadHint:
    """The thread of a root as the line below the root shows it."""

    count: int
    unread: int
    faces: list[Speaker]
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineItem:
    """A message, or a queued run, which has no message yet."""

    id: UUID | str
    speaker: Speaker
    state: str
    html: str = ""
    at: datetime | None = None
    seq: int = 0
    edited: bool = False
    pinned: bool = False
    pinned_by: str = ""
    version: int = 1
    versions: int = 1
    replaces: UUID | None = None
    replaced_by: UUID | None = None
    reactions: tuple[Reaction, ...] = ()
    thread: ThreadHint | None = None
    run: RunBody | None = None
    stopped_by: str = ""
    why: str = ""
    capped: int | None = None
    steps: StepLines | None = None
    asks: Sequence[Ask] = ()
    waits_for: str = ""
    steered: Sequence[SteeringLine] = ()
    round: Strip | None = None
    may_continue: bool = False
    may_stop: bool = False
    may_retry: bool = False
    starts_day: bool = False
    starts_unread: bool = False
    unread_since: datetime | None = None
    continued: bool = False

    @property
    def parts(self) -> StateRules:
        return RULES.states[self.state]

    @property
    def acts(self) -> bool:
        """Whether it shows steps, asks, steering lines or a round, which have a style sheet."""
        has_steps = self.steps is not None and bool(self.steps.rows)
        return has_steps or bool(self.asks) or bool(self.steered) or self.round is not None

    @property
    def seconds(self) -> int | None:
        """The duration of the run; None if the run has no start or end."""
        if self.run is None or self.run.started_at is None or self.run.ended_at is None:
            return None
        return round(
            (parse_time(self.run.ended_at) - parse_time(self.run.started_at)).total_seconds()
        )

    @property
    def tokens(self) -> int:
        """Input and output tokens of the run; 0 if the provider reported none."""
        usage = self.run.usage if self.run else None
        return usage.input_tokens + usage.output_tokens if usage else 0


def timeline_items(
    user: User,
    state: RoomState,
    ended: Sequence[RunBody],
    read_seq: int | None,
    versions: Mapping[UUID, int] = MappingProxyType({}),
    *,
    thread: UUID | None = None,
    unread: Mapping[UUID, int] = MappingProxyType({}),
) -> list[TimelineItem]:
    """Return messages and queued runs as `user` sees them, laid out by `layout.place`.

    `ended` are the runs behind answers of `state.messages` that have ended. The queued runs are
    those of the room, or of the thread with the root `thread`. `versions` has the number of
    versions of an answer of which a replaced version is shown, `unread` the unread replies by root.
    """
    runs = {run.id: run for run in [*ended, *state.runs]}
    namesakes = Namesakes(state)
    asks = asks_of(user, state)
    waiting = [run for run in state.runs if run.answer is None and run.replaces is UNSET]
    queued = [run for run in waiting if run.thread == thread]
    items = [
        *(
            replace(
                _message_item(user, state, message, runs, namesakes, versions=versions, asks=asks),
                thread=_hint(state, message, namesakes, unread.get(message.id, 0)),
            )
            for message in state.messages
        ),
        *(_queued_item(user, state, run, namesakes) for run in queued),
    ]
    placed = [Placed(i.speaker.kind, i.speaker.id, i.seq, i.at) for i in items]
    placements = place(placed, user.pk, read_seq)
    return [
        replace(
            item,
            starts_day=placement.starts_day,
            starts_unread=placement.starts_unread,
            unread_since=before.at if placement.starts_unread and before else None,
            continued=placement.continued,
        )
        for before, item, placement in zip([None, *items], items, placements, strict=False)
    ]


def ended_runs(messages: Sequence[MessageBody]) -> list[RunBody]:
    """Return the ended runs of the shown answers; they contain `error` and `stopped_by`."""
    answers = [message.id for message in messages if message.run is not None]
    runs = Run.objects.filter(answer__in=answers).exclude(state__in=ACTIVE)
    return [run_body(run) for run in runs]


def template_item(kind: str) -> TimelineItem:
    """Return an empty item, from which the page's `<template>` for new messages is rendered."""
    state = "thinking" if kind == "persona" else "completed"
    return TimelineItem(id="", speaker=Speaker(kind=kind, id=None, name=""), state=state)


def parse_time(text: str) -> datetime:
    """Return the time that a wire value (RFC 3339) names."""
    return datetime.fromisoformat(text)


def _message_item(
    user: User,
    state: RoomState,
    message: MessageBody,
    runs: dict[UUID, RunBody],
    namesakes: Namesakes,
    *,
    versions: Mapping[UUID, int],
    asks: Mapping[UUID, Sequence[Ask]],
) -> TimelineItem:
    run = runs.get(message.run) if message.run else None
    stopper = run.stopped_by if run else None
    item_state = _state_of(message, run)
    asking = asks.get(run.id, ()) if run else ()
    return TimelineItem(
        id=message.id,
        speaker=_speaker(state, message.author, namesakes),
        state=item_state,
        edited=message.edited_at is not None and not message.deleted,
        pinned=message.pinned is not None,
        pinned_by=_name_of(state, message.pinned.by) if message.pinned else "",
        version=message.answer_version,
        versions=versions.get(message.id, message.answer_version),
        replaces=message.replaces,
        replaced_by=message.replaced_by,
        reactions=_reactions(user, state, message),
        html=message.html,
        at=parse_time(message.created_at),
        seq=message.seq,
        run=run,
        stopped_by=_name_of(state, stopper),
        why=why_words(message.why or ""),
        capped=None if message.deleted or message.capped is UNSET else message.capped,
        steps=_steps(message, item_state, asking),
        asks=asking,
        waits_for=waits_for(asking) if item_state == "waiting" else "",
        steered=_steered(state, message),
        round=_strip(user, state, message, runs),
        may_continue=MODERATE in state.permissions,
        may_stop=run is not None and _may_stop(user, state, run),
        may_retry=run is not None and message.replaced_by is None and _may_retry(user, state, run),
    )


def _state_of(message: MessageBody, run: RunBody | None) -> str:
    if message.deleted:
        return "deleted"
    state = RULES.state_of_status[message.status]
    is_unfinished = RULES.states[state].busy
    return RULES.state_of_run.get(run.state, state) if run and is_unfinished else state


def _steps(message: MessageBody, state: str, asking: Sequence[Ask]) -> StepLines | None:
    if message.deleted or message.steps is UNSET:
        return None
    is_done = RULES.states[state].stop is None
    return step_lines(message.steps, done=is_done, asking={ask.id for ask in asking})


def _steered(state: RoomState, message: MessageBody) -> list[SteeringLine]:
    if message.deleted or message.steered is UNSET:
        return []
    return steering_lines(message.steered, {member.user: member for member in state.members})


def _strip(
    user: User, state: RoomState, message: MessageBody, runs: Mapping[UUID, RunBody]
) -> Strip | None:
    if message.deleted or message.round is UNSET:
        return None
    personas = {persona.id: persona for persona in state.personas}
    may_stop = message.round.requested_by == user.pk or MODERATE in state.permissions
    return round_strip(message.round, personas, runs, may_stop=may_stop)


def _name_of(state: RoomState, user_id: UUID | None) -> str:
    """Return the name of a member; "" for a user who is unknown here."""
    return next((member.name for member in state.members if member.user == user_id), "")


def _reactions(user: User, state: RoomState, message: MessageBody) -> tuple[Reaction, ...]:
    if not message.reactions:
        return ()
    names = {member.user: member.name for member in state.members}
    return tuple(
        Reaction(
            *(emoji, len(users), user.pk in users),
            names=", ".join(names[each] for each in users if each in names),
        )
        for emoji, users in message.reactions.items()
    )


def _hint(
    state: RoomState, message: MessageBody, namesakes: Namesakes, unread: int
) -> ThreadHint | None:
    replies = message.replies
    if replies is None:
        return None
    authors = [Author(kind=a.kind, id=a.id, name=a.name, handle="") for a in replies.authors]
    faces = [_speaker(state, author, namesakes) for author in authors]
    return ThreadHint(replies.count, unread, faces, parse_time(replies.last_at))


def _queued_item(user: User, state: RoomState, run: RunBody, namesakes: Namesakes) -> TimelineItem:
    return TimelineItem(
        id=run.id,
        speaker=_persona(state, run.persona, namesakes),
        state="queued",
        run=run,
        may_stop=_may_stop(user, state, run),
    )


def _may_stop(user: User, state: RoomState, run: RunBody) -> bool:
    return run.requested_by == user.pk or MODERATE in state.permissions


def _may_retry(user: User, state: RoomState, run: RunBody) -> bool:
    if run.state not in RULES.retryable_run_states:
        return False
    if any(message.id == run.message and message.deleted for message in state.messages):
        return False
    if any((o.message, o.persona) == (run.message, run.persona) for o in state.runs):
        return False
    asked = run.requested_by == user.pk and POST in state.permissions
    return asked or MODERATE in state.permissions


def _speaker(state: RoomState, author: Author, namesakes: Namesakes) -> Speaker:
    """Return the speaker; an author who has left the room keeps the name stored in the message."""
    if author.kind == "persona":
        return _persona(state, author.id, namesakes, author.name, author.handle)
    member = next((m for m in state.members if m.user == author.id), None)
    return Speaker(
        kind="user",
        id=author.id,
        name=author.name,
        in_room=member is not None,
        shown_handle=namesakes.handle(author.id, author.name, author.handle),
        wood=member.wood if member else Wood.PAULOWNIA.value,
    )


def _persona(
    state: RoomState,
    persona_id: UUID | None,
    namesakes: Namesakes,
    name: str = "",
    handle: str = "",
) -> Speaker:
    for persona in state.personas:
        if persona.id == persona_id:
            return Speaker(
                kind="persona",
                id=persona_id,
                name=name or persona.name,
                in_room=True,
                shown_handle=namesakes.handle(
                    persona_id, name or persona.name, handle or persona.handle
                ),
                role=persona.role,
                pigment=persona.pigment,
                lattice=persona.lattice,
            )
    shown_handle = namesakes.handle(persona_id, name, handle)
    return Speaker(kind="persona", id=persona_id, name=name, shown_handle=shown_handle)
