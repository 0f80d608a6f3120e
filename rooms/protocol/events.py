"""The whole vocabulary of the socket: commands that come in, events that go out.

Every frame is a frozen struct tagged by `type`. Durable events also stand in the room's log, with
the room's `seq`; the others are worth nothing once they are late.
"""

from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

TEXT_LIMIT: Final = 16_000
FRAME_LIMIT: Final = 65_536
UNPLACED: Final = UUID(int=0)

Seq = Annotated[int, Meta(ge=0, lt=2**53)]
Position = tuple[Annotated[int, Meta(ge=1, lt=2**31)], Seq]
Ref = Annotated[str, Meta(max_length=64)]


# Commands


class Command(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", kw_only=True):
    """Something that a client asks for. Who asks is known from the socket, never from the frame."""


class RoomJoin(Command, frozen=True, tag="room.join"):
    """`live` says which deltas of unfinished answers the client holds: message → attempt, seq."""

    ref: Ref
    room: UUID
    after: Seq | None
    live: Annotated[dict[UUID, Position], Meta(max_length=500)] | None


class RoomLeave(Command, frozen=True, tag="room.leave"):
    ref: Ref
    room: UUID


class MessageSend(Command, frozen=True, tag="message.send"):
    ref: Ref
    room: UUID
    client_id: UUID
    text: str
    reply_to: UUID | None
    personas: Annotated[list[UUID], Meta(max_length=100)] | None


class MessageEdit(Command, frozen=True, tag="message.edit"):
    ref: Ref
    message: UUID
    text: str


class MessageDelete(Command, frozen=True, tag="message.delete"):
    ref: Ref
    message: UUID


class MessageReact(Command, frozen=True, tag="message.react"):
    ref: Ref
    message: UUID
    emoji: str
    on: bool


class RunCancel(Command, frozen=True, tag="run.cancel"):
    ref: Ref
    run: UUID


class RunRetry(Command, frozen=True, tag="run.retry"):
    ref: Ref
    run: UUID


class RoomRead(Command, frozen=True, tag="room.read"):
    room: UUID
    seq: Seq


class MemberType(Command, frozen=True, tag="member.type"):
    room: UUID


class Ping(Command, frozen=True, tag="ping"):
    ref: Ref


AnyCommand = (
    RoomJoin
    | RoomLeave
    | MessageSend
    | MessageEdit
    | MessageDelete
    | MessageReact
    | RunCancel
    | RunRetry
    | RoomRead
    | MemberType
    | Ping
)


# What events carry


class Author(Struct, frozen=True):
    kind: str
    id: UUID | None
    name: str
    handle: str


class MessageBody(Struct, frozen=True, kw_only=True):
    id: UUID
    room: UUID
    seq: int
    author: Author
    text: str
    html: str
    reply_to: UUID | None
    run: UUID | None
    status: str
    reactions: dict[str, list[UUID]]
    created_at: str
    edited_at: str | None
    deleted: bool


class RunError(Struct, frozen=True):
    code: str
    detail: str


class RunUsage(Struct, frozen=True, kw_only=True):
    input_tokens: int
    output_tokens: int
    cost: str | None = None
    currency: str = "USD"


class RunBody(Struct, frozen=True, kw_only=True):
    id: UUID
    persona: UUID
    message: UUID
    answer: UUID | None
    state: str
    attempt: int
    requested_by: UUID | None
    stopped_by: UUID | None
    position: int | None
    error: RunError | None
    usage: RunUsage | None
    started_at: str | None
    ended_at: str | None


class MemberBody(Struct, frozen=True, kw_only=True):
    user: UUID
    name: str
    handle: str
    wood: str
    role: str


class PersonaBody(Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    handle: str
    role: str
    goal: str
    pigment: str
    lattice: str
    enabled: bool


class RoomBody(Struct, frozen=True, kw_only=True):
    id: UUID
    team: UUID
    name: str
    topic: str
    privacy: str
    answer_policy: str
    default_persona: UUID | None
    archived: bool


class RoomState(Struct, frozen=True, kw_only=True):
    """A room afresh; what `RoomSnapshot.state` carries and the first page is made of."""

    room: RoomBody
    members: list[MemberBody]
    personas: list[PersonaBody]
    permissions: list[str]
    messages: list[MessageBody]
    runs: list[RunBody]


class LiveAnswer(Struct, frozen=True, kw_only=True, rename={"since": "from"}):
    """The deltas `since` to `seq` of an unfinished answer, as one text."""

    message: UUID
    run: UUID
    attempt: int
    since: int
    seq: int
    text: str


# Events


class Event(Struct, frozen=True, tag_field="type", kw_only=True):
    """Something that has happened in a room."""

    room: UUID = UNPLACED


class DurableEvent(Event, frozen=True, kw_only=True):
    """Stands in the room's log; `rooms.event_log.record` gives it its room and its seq."""

    seq: int = 0


class MessageCreated(DurableEvent, frozen=True, tag="message.created"):
    message: MessageBody


class MessageUpdated(DurableEvent, frozen=True, tag="message.updated"):
    message: MessageBody


class MessageCompleted(DurableEvent, frozen=True, tag="message.completed"):
    """Carries the whole text: the truth, which replaces all deltas."""

    message: MessageBody


class MessageDeleted(DurableEvent, frozen=True, tag="message.deleted"):
    """Carries what is left of the message: its place, and no text."""

    message: MessageBody


class ReactionChanged(DurableEvent, frozen=True, tag="reaction.changed"):
    """All reactions to a message, as they are now."""

    message: UUID
    reactions: dict[str, list[UUID]]


class RunQueued(DurableEvent, frozen=True, tag="run.queued"):
    run: RunBody


class RunStarted(DurableEvent, frozen=True, tag="run.started"):
    run: RunBody


class RunCompleted(DurableEvent, frozen=True, tag="run.completed"):
    run: RunBody


class RunFailed(DurableEvent, frozen=True, tag="run.failed"):
    run: RunBody


class RunCancelled(DurableEvent, frozen=True, tag="run.cancelled"):
    run: RunBody


class MemberAdded(DurableEvent, frozen=True, tag="member.added"):
    member: MemberBody


class MemberChanged(DurableEvent, frozen=True, tag="member.changed"):
    member: MemberBody


class MemberRemoved(DurableEvent, frozen=True, tag="member.removed"):
    user: UUID


class RoomChanged(DurableEvent, frozen=True, tag="room.changed"):
    changed: RoomBody


class RoomArchived(DurableEvent, frozen=True, tag="room.archived"):
    """It can be read, and nothing be written in it; `room.changed` says that it is open again."""

    changed: RoomBody


class RoomDeleted(DurableEvent, frozen=True, tag="room.deleted"):
    """The last that anybody hears of the room, unless the deletion of its team is undone."""


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


class RoomActivity(Event, frozen=True, tag="room.activity"):
    """To members who have not joined the room on this socket."""

    seq: int
    unread: int
    mentions: int


class RoomRemoved(Event, frozen=True, tag="room.removed"):
    """You are out; nothing of the room follows."""


class RoomSnapshot(Event, frozen=True, tag="room.snapshot", kw_only=True, rename={"since": "from"}):
    ref: str
    seq: int
    since: int
    complete: bool
    events: list[Raw] | None
    state: RoomState | None
    live: list[LiveAnswer]
    online: list[UUID]


# Answers to commands


class CommandDone(Struct, frozen=True, tag="command.done", tag_field="type"):
    ref: str
    result: dict[str, Any]


class CommandRefused(Struct, frozen=True, tag="command.refused", tag_field="type", kw_only=True):
    ref: str | None
    code: str
    detail: str
    retry_after: int | UnsetType = UNSET


AnyAnswer = CommandDone | CommandRefused | RoomSnapshot
AnyDurable = (
    MessageCreated
    | MessageUpdated
    | MessageDeleted
    | MessageCompleted
    | ReactionChanged
    | RunQueued
    | RunStarted
    | RunCompleted
    | RunFailed
    | RunCancelled
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


class _Referring(Struct, frozen=True):
    """All that is read of a frame that is no command."""

    ref: Ref


_encoder = msgspec.json.Encoder()
_command_decoder: msgspec.json.Decoder[AnyCommand] = msgspec.json.Decoder(AnyCommand)
_ref_decoder = msgspec.json.Decoder(_Referring)


def encode(frame: Struct) -> bytes:
    """Return the frame as the JSON that goes out."""
    return _encoder.encode(frame)


def decode_command(text: str | bytes) -> AnyCommand:
    """Return the command that a client sent; msgspec.DecodeError if it is none of ours."""
    return _command_decoder.decode(text)


def ref_of(text: str | bytes) -> str | None:
    """Return the ref of a frame that is no command, so that its refusal can still name it."""
    try:
        return _ref_decoder.decode(text).ref
    except (msgspec.DecodeError, RecursionError):
        return None
