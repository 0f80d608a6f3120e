"""The lines of a conversation as the page shows them; `timeline_view.js` goes on from there."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

from django.utils import timezone

from accounts.models import User, Wood
from agents.models import Lattice, Pigment
from rooms.models import RunState
from rooms.permissions import MODERATE, POST
from rooms.protocol.payloads import Author, RoomState, RunBody

TOGETHER: Final = timedelta(minutes=5)
_STATES: Final = {
    "complete": "completed",
    "streaming": "thinking",
    "failed": "failed",
    "cancelled": "stopped",
}


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who says a line, with the look of their mark."""

    kind: str
    id: UUID | None
    name: str
    role: str = ""
    pigment: str = Pigment.MEOK.value
    lattice: str = Lattice.GYEOKSAL.value
    wood: str = Wood.PAULOWNIA.value


@dataclass(frozen=True, slots=True)
class Reaction:
    """An emoji that somebody has put to a message."""

    emoji: str
    count: int
    mine: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A message, or an answer that waits in line and has no message yet."""

    id: UUID | str
    speaker: Speaker
    state: str
    html: str = ""
    at: datetime | None = None
    seq: int = 0
    edited: bool = False
    reactions: tuple[Reaction, ...] = ()
    run: RunBody | None = None
    stopped_by: str = ""
    may_stop: bool = False
    may_retry: bool = False
    starts_day: bool = False
    starts_unread: bool = False
    unread_since: datetime | None = None
    continued: bool = False

    @property
    def is_busy(self) -> bool:
        return self.state == "thinking"

    @property
    def seconds(self) -> int | None:
        """How long the answer took."""
        if self.run is None or self.run.started_at is None or self.run.ended_at is None:
            return None
        return round((moment(self.run.ended_at) - moment(self.run.started_at)).total_seconds())

    @property
    def tokens(self) -> int:
        """What the answer cost, in tokens; 0 where nobody counted."""
        usage = self.run.usage if self.run else None
        return usage.input_tokens + usage.output_tokens if usage else 0


def lines_of(
    user: User, state: RoomState, ended: Sequence[RunBody], read_seq: int | None
) -> list[Line]:
    """Return the conversation as `user` sees it, read up to `read_seq` (None: do not mark it)."""
    lines = [*_messages(user, state, ended), *_waiting(user, state)]
    return list(_laid_out(lines, user, read_seq))


def blank(kind: str) -> Line:
    """Return a line for the scripts to clone and to fill in."""
    state = "thinking" if kind == "persona" else "completed"
    return Line(id="", speaker=Speaker(kind=kind, id=None, name=""), state=state)


def moment(text: str) -> datetime:
    """Return a time of the wire as a time again."""
    return datetime.fromisoformat(text)


def _messages(user: User, state: RoomState, ended: Sequence[RunBody]) -> Iterator[Line]:
    runs = {run.id: run for run in [*ended, *state.runs]}
    for message in state.messages:
        run = runs.get(message.run) if message.run else None
        yield Line(
            id=message.id,
            speaker=_author(state, message.author),
            state="deleted" if message.deleted else _STATES[message.status],
            edited=message.edited_at is not None and not message.deleted,
            reactions=tuple(
                Reaction(emoji, len(users), user.pk in users)
                for emoji, users in message.reactions.items()
            ),
            html=message.html,
            at=moment(message.created_at),
            seq=message.seq,
            run=run,
            stopped_by=_name(state, run.stopped_by) if run else "",
            may_stop=run is not None and _may_stop(user, state, run),
            may_retry=run is not None and _may_retry(user, state, run),
        )


def _waiting(user: User, state: RoomState) -> Iterator[Line]:
    for run in state.runs:
        if run.answer is None:
            yield Line(
                id=run.id,
                speaker=_persona(state, run.persona),
                state="queued",
                run=run,
                may_stop=_may_stop(user, state, run),
            )


def _laid_out(lines: Iterable[Line], user: User, read_seq: int | None) -> Iterator[Line]:
    """Say where a day and where the unread begin, and which lines go on from the one before."""
    before: Line | None = None
    for line in lines:
        starts_day = line.at is not None and _day(line) != (before and _day(before))
        starts_unread = False
        if read_seq is not None and line.seq > read_seq and line.speaker.id != user.pk:
            starts_unread, read_seq = True, None
        yield replace(
            line,
            starts_day=starts_day,
            starts_unread=starts_unread,
            unread_since=before.at if starts_unread and before else None,
            continued=not starts_day and not starts_unread and _goes_on(before, line),
        )
        before = line


def _day(line: Line) -> date | None:
    return timezone.localdate(line.at) if line.at else None


def _goes_on(before: Line | None, line: Line) -> bool:
    """Whether a line needs no name: the same person goes on within a few minutes."""
    if before is None or before.at is None or line.at is None:
        return False
    people = before.speaker.kind == line.speaker.kind == "user"
    same = people and line.speaker.id is not None and before.speaker.id == line.speaker.id
    return same and line.at - before.at < TOGETHER


def _may_stop(user: User, state: RoomState, run: RunBody) -> bool:
    return run.requested_by == user.pk or MODERATE in state.permissions


def _may_retry(user: User, state: RoomState, run: RunBody) -> bool:
    if run.state not in (RunState.FAILED, RunState.CANCELLED):
        return False
    if any(message.id == run.message and message.deleted for message in state.messages):
        return False
    if any((o.message, o.persona) == (run.message, run.persona) for o in state.runs):
        return False
    asked = run.requested_by == user.pk and POST in state.permissions
    return asked or MODERATE in state.permissions


def _author(state: RoomState, author: Author) -> Speaker:
    """Whoever has left the room keeps the name that stands with their messages."""
    if author.kind == "persona":
        return _persona(state, author.id, author.name)
    wood = next((m.wood for m in state.members if m.user == author.id), Wood.PAULOWNIA.value)
    return Speaker(kind="user", id=author.id, name=author.name, wood=wood)


def _persona(state: RoomState, persona_id: UUID | None, name: str = "") -> Speaker:
    for persona in state.personas:
        if persona.id == persona_id:
            return Speaker(
                kind="persona",
                id=persona_id,
                name=name or persona.name,
                role=persona.role,
                pigment=persona.pigment,
                lattice=persona.lattice,
            )
    return Speaker(kind="persona", id=persona_id, name=name)


def _name(state: RoomState, user_id: UUID | None) -> str:
    return next((member.name for member in state.members if member.user == user_id), "")
