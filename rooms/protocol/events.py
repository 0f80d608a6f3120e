"""The frames that the server sends over the WebSocket: events, and responses to commands.

A frame is a frozen struct, tagged by `type`. Durable events are stored in the room's log with the
room's `seq`. The other events are sent once and are never stored or repeated.
"""

from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from accounts.fields import one_of
from rooms.protocol.payloads import (
    ApprovalBody,
    LiveAnswer,
    MemberBody,
    MessageBody,
    PersonaBody,
    QuestionBody,
    Replies,
    RoomBody,
    RoomState,
    RoundBody,
    RunBody,
)

UNPLACED: Final = UUID(int=0)
"""The room of an event that `rooms.event_log.record` has not stored yet."""


class Event(Struct, frozen=True, tag_field="type", kw_only=True):
    """A change in a room."""

    room: UUID = UNPLACED


class DurableEvent(Event, frozen=True, kw_only=True):
    """An event of the room's log. `rooms.event_log.record` sets `room` and `seq`."""

    seq: int = 0


class MessageCreated(DurableEvent, frozen=True, tag="message.created"):
    message: MessageBody


class MessageUpdated(DurableEvent, frozen=True, tag="message.updated"):
    message: MessageBody


class MessageCompleted(DurableEvent, frozen=True, tag="message.completed"):
    """The answer has ended. Its whole text replaces all deltas that the client has."""

    message: MessageBody


class MessageDeleted(DurableEvent, frozen=True, tag="message.deleted"):
    """The message without its text, HTML and reactions."""

    message: MessageBody


class ReactionChanged(DurableEvent, frozen=True, tag="reaction.changed"):
    """All reactions to a message after the change."""

    message: UUID
    reactions: dict[str, list[UUID]]


class ThreadChanged(DurableEvent, frozen=True, tag="thread.changed"):
    """The summary of a thread after a reply or a deletion; `message` is its root."""

    message: UUID
    replies: Replies | None


class RunQueued(DurableEvent, frozen=True, tag="run.queued"):
    run: RunBody


class RunStarted(DurableEvent, frozen=True, tag="run.started"):
    """An attempt has started. `stream` is its number for `CompactDelta`."""

    run: RunBody
    stream: int | UnsetType = UNSET


class RunCompleted(DurableEvent, frozen=True, tag="run.completed"):
    run: RunBody


class RunFailed(DurableEvent, frozen=True, tag="run.failed"):
    run: RunBody


class RunCancelled(DurableEvent, frozen=True, tag="run.cancelled"):
    run: RunBody


class RunWaiting(DurableEvent, frozen=True, tag="run.waiting"):
    """The run waits for people or for another run; `run.queued` reports that it goes on."""

    run: RunBody


class ApprovalRequested(DurableEvent, frozen=True, tag="approval.requested"):
    approval: ApprovalBody


class ApprovalDecided(DurableEvent, frozen=True, tag="approval.decided"):
    approval: ApprovalBody


class QuestionAsked(DurableEvent, frozen=True, tag="question.asked"):
    question: QuestionBody


class QuestionAnswered(DurableEvent, frozen=True, tag="question.answered"):
    """An answer to a question, or its end without a further answer."""

    question: QuestionBody


class RoundChanged(DurableEvent, frozen=True, tag="round.changed"):
    """A round has begun, has reached another step, or has ended; its message has it, too."""

    round: RoundBody


class MemberAdded(DurableEvent, frozen=True, tag="member.added"):
    member: MemberBody


class MemberChanged(DurableEvent, frozen=True, tag="member.changed"):
    member: MemberBody


class MemberRemoved(DurableEvent, frozen=True, tag="member.removed"):
    user: UUID


class TurnsCapped(DurableEvent, frozen=True, tag="turns.capped"):
    """A limit stopped the chain of answers at this answer, which asks for more of them.

    `limit` is the number of answers that are allowed; 0 if the queue was full, which `reason` says.
    """

    message: UUID
    limit: int
    reason: Annotated[str, one_of(["answers", "queue"])] = "answers"


class RoomChanged(DurableEvent, frozen=True, tag="room.changed"):
    changed: RoomBody


class RoomArchived(DurableEvent, frozen=True, tag="room.archived"):
    """The room is read-only from now on. `room.changed` reports that it was reopened."""

    changed: RoomBody


class RoomDeleted(DurableEvent, frozen=True, tag="room.deleted"):
    """The last event of the room, unless the deletion of its team is undone."""


class PersonaBound(DurableEvent, frozen=True, tag="persona.bound"):
    persona: PersonaBody


class PersonaUnbound(DurableEvent, frozen=True, tag="persona.unbound"):
    persona: UUID


class PersonaChanged(DurableEvent, frozen=True, tag="persona.changed"):
    persona: PersonaBody


class MessageDelta(Event, frozen=True, tag="message.delta"):
    message: UUID
    run: UUID
    attempt: int
    seq: int
    text: str


class CompactDelta(Struct, frozen=True):
    """A `message.delta` in the subprotocol `maru.v1.compact`: stream, seq and text."""

    d: tuple[int, int, str]


class ToolStarted(Event, frozen=True, tag="tool.started"):
    run: UUID
    call: str
    tool: str
    summary: str
    ms: int | None = None


class ToolFinished(Event, frozen=True, tag="tool.finished"):
    run: UUID
    call: str
    tool: str
    summary: str
    ms: int | None = None


class RunPosition(Event, frozen=True, tag="run.position"):
    run: UUID
    position: int


class MemberTyping(Event, frozen=True, tag="member.typing"):
    user: UUID


class Presence(Event, frozen=True, tag="presence"):
    user: UUID
    online: bool


class RoomActivity(Event, frozen=True, tag="room.activity", omit_defaults=True):
    """Unread counts of a room that the connection has not joined, for members of the room.

    `threads` is the number of followed threads with new replies; it is left out if there are none.
    """

    seq: int
    unread: int
    mentions: int
    threads: int = 0


class RoomRemoved(Event, frozen=True, tag="room.removed"):
    """The client may no longer read the room; no further events of the room follow."""


class RoomSnapshot(Event, frozen=True, tag="room.snapshot", kw_only=True, rename={"since": "from"}):
    ref: str
    seq: int
    since: int
    complete: bool
    events: list[Raw] | None
    state: RoomState | None
    live: list[LiveAnswer]
    online: list[UUID]


# Responses to commands


class CommandDone(Struct, frozen=True, tag="command.done", tag_field="type"):
    ref: str
    result: dict[str, Any]


class CommandRefused(Struct, frozen=True, tag="command.refused", tag_field="type", kw_only=True):
    ref: str | None
    code: str
    detail: str
    fields: dict[str, str] | UnsetType = UNSET
    retry_after: int | UnsetType = UNSET


AnyResponse = CommandDone | CommandRefused | RoomSnapshot
AnyDurable = (
    MessageCreated
    | MessageUpdated
    | MessageDeleted
    | MessageCompleted
    | ReactionChanged
    | ThreadChanged
    | RunQueued
    | RunStarted
    | RunCompleted
    | RunFailed
    | RunCancelled
    | RunWaiting
    | ApprovalRequested
    | ApprovalDecided
    | QuestionAsked
    | QuestionAnswered
    | RoundChanged
    | TurnsCapped
    | MemberAdded
    | MemberChanged
    | MemberRemoved
    | RoomChanged
    | RoomArchived
    | RoomDeleted
    | PersonaBound
    | PersonaUnbound
    | PersonaChanged
)
AnyEvent = (
    AnyDurable
    | MessageDelta
    | RunPosition
    | ToolStarted
    | ToolFinished
    | MemberTyping
    | Presence
    | RoomActivity
    | RoomRemoved
)


_encoder = msgspec.json.Encoder()


def encode(frame: Struct) -> bytes:
    """Return the frame as JSON."""
    return _encoder.encode(frame)
