"""The commands that a client sends over the WebSocket, and their decoder.

A command is a frozen struct, tagged by `type`, that refuses unknown fields.
"""

from typing import Annotated, Final, Literal, get_args
from uuid import UUID

import msgspec
from msgspec import Meta, Raw, Struct

from accounts.errors import Invalid
from accounts.fields import NOT_AN_OBJECT, NOT_JSON, WRONG_FIELDS, WRONG_VALUES
from accounts.fields import refusal as refusal_of

TEXT_LIMIT: Final = 16_000
"""The longest text of a message, in code points."""

MAX_NOTE: Final = 400
"""The longest word to the model with a decision, in code points."""

Seq = Annotated[int, Meta(ge=0, lt=2**53)]
DeltaPosition = tuple[Annotated[int, Meta(ge=1, lt=2**31)], Seq]
"""The attempt and the seq of a delta."""
Ref = Annotated[str, Meta(max_length=64)]
Personas = Annotated[list[UUID], Meta(max_length=100)]


class Command(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", kw_only=True):
    """A request of a client. The user comes from the connection's credentials, not the frame."""


class RoomJoin(Command, frozen=True, tag="room.join"):
    """Subscribe to a room. `live` maps each unfinished answer to the client's last delta of it.

    A state also has the messages of `threads`, the threads that are open in the client.
    """

    ref: Ref
    room: UUID
    after: Seq | None
    live: Annotated[dict[UUID, DeltaPosition], Meta(max_length=500)] | None
    threads: Annotated[list[UUID], Meta(max_length=20)] = []


class RoomLeave(Command, frozen=True, tag="room.leave"):
    ref: Ref
    room: UUID


class MessageSend(Command, frozen=True, tag="message.send"):
    ref: Ref
    room: UUID
    client_id: UUID
    text: str
    reply_to: UUID | None
    personas: Personas | None
    mentions_first: bool = False
    in_turn: bool = False
    led_by: UUID | None = None
    also_in_room: bool = False


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


class MessagePin(Command, frozen=True, tag="message.pin"):
    ref: Ref
    message: UUID
    on: bool


class ApprovalDecide(Command, frozen=True, tag="approval.decide", rename={"extent": "for"}):
    """Decide on a tool call; see `rooms.services.approvals.decide_call`."""

    ref: Ref
    approval: UUID
    decision: Literal["allow", "deny"]
    arguments_sha256: Annotated[str, Meta(max_length=64)]
    extent: Literal["call", "run"] = "call"
    note: Annotated[str, Meta(max_length=MAX_NOTE)] = ""


class RunCancel(Command, frozen=True, tag="run.cancel"):
    ref: Ref
    run: UUID


class RunRetry(Command, frozen=True, tag="run.retry"):
    ref: Ref
    run: UUID


class RunSteer(Command, frozen=True, tag="run.steer"):
    """A line to an answer that is being made."""

    ref: Ref
    run: UUID
    text: str


class QuestionAnswer(Command, frozen=True, tag="question.answer"):
    """The answer of a user to a question of a persona: one of its choices, or own words."""

    ref: Ref
    question: UUID
    choice: str | None = None
    text: str | None = None


class RoundCancel(Command, frozen=True, tag="round.cancel"):
    """Cancel a round: its run, and the steps that have not begun."""

    ref: Ref
    round: UUID


class RoundSkip(Command, frozen=True, tag="round.skip"):
    """Let a round go on after the step at which it has paused."""

    ref: Ref
    round: UUID


class RoomRead(Command, frozen=True, tag="room.read"):
    room: UUID
    seq: Seq


class MemberType(Command, frozen=True, tag="member.type"):
    room: UUID


class ThreadRead(Command, frozen=True, tag="thread.read"):
    """Move the read position of the user in the thread of the root `message`."""

    ref: Ref
    message: UUID
    seq: Seq


class Ping(Command, frozen=True, tag="ping"):
    ref: Ref


AnyCommand = (
    RoomJoin
    | RoomLeave
    | MessageSend
    | MessageEdit
    | MessageDelete
    | MessageReact
    | MessagePin
    | ApprovalDecide
    | RunCancel
    | RunRetry
    | RunSteer
    | QuestionAnswer
    | RoundCancel
    | RoundSkip
    | RoomRead
    | MemberType
    | ThreadRead
    | Ping
)


class _RefOnly(Struct, frozen=True):
    """The only field that is decoded from a frame that is not a valid command."""

    ref: Ref


_COMMANDS: Final = {str(each.__struct_config__.tag): each for each in get_args(AnyCommand)}
_command_decoder: msgspec.json.Decoder[AnyCommand] = msgspec.json.Decoder(AnyCommand)
_ref_decoder = msgspec.json.Decoder(_RefOnly)


def decode_command(text: str | bytes) -> AnyCommand:
    """Return the command in a frame; raises msgspec.DecodeError if the frame is not a command."""
    return _command_decoder.decode(text)


def refusal(text: str) -> Invalid:
    """Return the error for a frame that is not a command; `fields` names every wrong field."""
    try:
        fields = msgspec.json.decode(text, type=dict[str, Raw])
        kind = msgspec.json.decode(fields.get("type", b"null"))
    except msgspec.ValidationError:
        return Invalid(NOT_AN_OBJECT)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Invalid(NOT_JSON)
    command = _COMMANDS.get(kind) if isinstance(kind, str) else None
    if command is None:
        detail = WRONG_VALUES if "type" in fields else WRONG_FIELDS
        return Invalid(detail, fields={"type": f"Expected one of {', '.join(_COMMANDS)}"})
    return refusal_of(text.encode(), command)


def decode_ref(text: str | bytes) -> str | None:
    """Return the `ref` of an invalid command, for its refusal; None if it has no `ref`."""
    try:
        return _ref_decoder.decode(text).ref
    except (msgspec.DecodeError, RecursionError):
        return None
