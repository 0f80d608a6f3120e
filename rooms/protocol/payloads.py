"""The structs that events and REST responses carry: messages, runs, members, personas, rooms."""

from uuid import UUID

from msgspec import Struct


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
    """The whole state of a room: `RoomSnapshot.state`, and the data of the room's page."""

    room: RoomBody
    members: list[MemberBody]
    personas: list[PersonaBody]
    permissions: list[str]
    messages: list[MessageBody]
    runs: list[RunBody]


class LiveAnswer(Struct, frozen=True, kw_only=True, rename={"since": "from"}):
    """The text of the deltas `since` to `seq` of an unfinished answer."""

    message: UUID
    run: UUID
    attempt: int
    since: int
    seq: int
    text: str
