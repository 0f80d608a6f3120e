"""The structs that events and REST responses carry: messages, runs, members, personas, rooms."""

from typing import Annotated, Final
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from accounts.fields import Timestamp, one_of
from accounts.models import Wood
from agents.models import Lattice, Pigment
from rooms.models import (
    AnswerPolicy,
    AnswersIn,
    AuthorKind,
    CallState,
    Denial,
    MessageStatus,
    Privacy,
    QuestionState,
    RoomMode,
    RoomRole,
    RoundState,
    RunState,
    SteerState,
    Why,
)

ROUND_STEP_STATES: Final = (*("waiting", "running", "completed", "failed", "cancelled", "skipped"),)


class Author(Struct, frozen=True):
    """The user or persona that wrote a message."""

    kind: Annotated[str, one_of(AuthorKind.values)]
    id: UUID | None
    name: str
    handle: str


class Pin(Struct, frozen=True):
    """Who has pinned a message, and when; `by` is null if the account was deleted."""

    by: UUID | None
    at: Timestamp


class Votes(Struct, frozen=True, kw_only=True):
    """The votes on an answer. `mine` is only in responses to one user, not in events and states."""

    up: int
    down: int
    mine: int | UnsetType = UNSET


class ReplyAuthor(Struct, frozen=True):
    """The author of a reply, with the name at that time."""

    kind: Annotated[str, one_of(AuthorKind.values)]
    id: UUID | None
    name: str


class Replies(Struct, frozen=True, kw_only=True):
    """The summary of a thread: its replies without deleted ones, and their first authors.

    `unread` is only in responses to one user who follows the thread, not in events and states.
    """

    count: int
    last_at: Timestamp
    authors: Annotated[list[ReplyAuthor], Meta(max_length=5)]
    unread: int | UnsetType = UNSET


class Step(Struct, frozen=True, kw_only=True):
    """A tool call as all members see it: never its arguments.

    `title` is that of the tool's server; with `own`, `tool` is one of our own tools and `title` is
    in English, as the words of `result` are. `result` is a word or two; for a question to people,
    `answers` is their number. After a member who may has shown the result, `shown` has its first
    8,192 characters; `GET /runs/{run}/calls` has the whole. `denial` says why a call was denied on
    which no person has decided.
    """

    call: UUID
    tool: str
    title: str
    state: Annotated[str, one_of(CallState.values)]
    ms: int | None = None
    result: str | None = None
    shown: str | UnsetType = UNSET
    denial: Annotated[str, one_of(Denial.values)] | UnsetType = UNSET
    own: bool | UnsetType = UNSET
    answers: int | UnsetType = UNSET


class Steering(Struct, frozen=True, kw_only=True):
    """A member's line to a running answer; `after` is the number of steps before it applied."""

    id: UUID
    by: UUID | None
    name: str
    at: Timestamp
    text: str
    state: Annotated[str, one_of(SteerState.values)]
    after: int | None = None


class RoundStep(Struct, frozen=True, kw_only=True):
    """One persona of a round, with its name when the round began.

    `running` until its run has ended, also while that is queued. `reason` is the reason or the code
    of a failure; see `RunError`.
    """

    persona: UUID
    name: str
    run: UUID | None
    state: Annotated[str, one_of(ROUND_STEP_STATES)]
    reason: str | UnsetType = UNSET


class RoundBody(Struct, frozen=True, kw_only=True):
    """Several personas that answer a message in turn."""

    id: UUID
    message: UUID
    requested_by: UUID | None
    steps: list[RoundStep]
    state: Annotated[str, one_of(RoundState.values)]


class MessageBody(Struct, frozen=True, kw_only=True):
    """A message; `html` is its text, rendered and sanitised.

    `thread` is the root of the thread of a reply; `also_in_room` is True for a reply that the room
    shows too. `replies` is set for a root. Events that were stored before have none of the three.
    """

    id: UUID
    room: UUID
    seq: int
    author: Author
    text: str
    html: str
    reply_to: UUID | None
    thread: UUID | None = None
    also_in_room: bool = False
    replies: Replies | None = None
    run: UUID | None
    status: Annotated[str, one_of(MessageStatus.values)]
    reactions: dict[str, list[UUID]]
    created_at: Timestamp
    edited_at: Timestamp | None
    deleted: bool
    why: Annotated[str, one_of(Why.values)] | UnsetType = UNSET
    """The rule by which the persona was asked; messages of users have none."""
    capped: int | UnsetType = UNSET
    """The limit that stopped the chain of answers at this answer, 0 if the queue was full."""
    pinned: Pin | None = None
    replaces: UUID | None = None
    """The version of the answer before this one."""
    replaced_by: UUID | None = None
    """The version of the answer after this one; lists contain only the last version."""
    answer_version: int = 1
    """The number of this version of the answer."""
    version: int | None = None
    """The number of the version of the persona that answered."""
    votes: Votes | None = None
    steps: list[Step] | UnsetType = UNSET
    """The tool calls of an answer that has any, in their order."""
    steered: list[Steering] | UnsetType = UNSET
    """The lines by which members steered an answer."""
    round: RoundBody | UnsetType = UNSET
    """The round of personas that answer this message."""


class PinnedBody(Struct, frozen=True, kw_only=True):
    """A pinned message as the list of a room shows it; `text` is the start of its text."""

    message: UUID
    author: Author
    text: str
    pinned: Pin


class ThreadBody(Struct, frozen=True, kw_only=True):
    """A thread as one user sees it: its root, and the number of replies after `read_seq`."""

    message: MessageBody
    following: bool
    read_seq: int
    unread: int


class RunError(Struct, frozen=True):
    """The reason why a run failed: `code` for programs, `detail` for people.

    `reason` is more exact than `code`, and `persona` is the name in its sentence. With both, a
    client words the sentence in the language of its reader; events have `detail` in the language of
    the question.
    """

    code: str
    detail: str
    reason: str | UnsetType = UNSET
    persona: str | UnsetType = UNSET


class RunUsage(Struct, frozen=True, kw_only=True):
    """The tokens that a run used."""

    input_tokens: int
    output_tokens: int
    cost: str | None = None
    currency: str = "USD"


class RunBody(Struct, frozen=True, kw_only=True):
    """The making of one answer; `position` is its place in the queue.

    `thread` is the root of the thread in which the answer is or will be.
    """

    id: UUID
    persona: UUID
    message: UUID
    answer: UUID | None
    thread: UUID | None = None
    state: Annotated[str, one_of(RunState.values)]
    attempt: int
    requested_by: UUID | None
    stopped_by: UUID | None
    position: int | None
    error: RunError | None
    usage: RunUsage | None
    started_at: Timestamp | None
    ended_at: Timestamp | None
    replaces: UUID | UnsetType = UNSET
    """The answer of which the run writes a new version."""
    round: UUID | UnsetType = UNSET
    """The round of which the run is a step."""
    asked_by: UUID | UnsetType = UNSET
    """The call of another run that asked for this one."""


class ApprovalBody(Struct, frozen=True, kw_only=True):
    """A call that waits for a decision, or the decision; it never has the arguments.

    `id` is that of the call, and `own` and `title` are as in its step. `asked_of` are the users who
    may decide. `by` is null for a decision of no person, and `denial` then says why the call is
    not carried out.
    """

    id: UUID
    run: UUID
    message: UUID
    persona: UUID
    call: UUID
    tool: str
    title: str
    changes: bool
    asked_of: list[UUID]
    state: Annotated[str, one_of(["asked", "allowed", "denied", "expired", "withdrawn"])] = "asked"
    by: UUID | None = None
    by_name: str | UnsetType = UNSET
    at: Timestamp | UnsetType = UNSET
    """When a person decided."""
    own: bool | UnsetType = UNSET
    for_run: bool = False
    """True if the decision holds for later calls of the tool in this run."""
    may_for_run: bool = False
    """True if the decision may hold for later calls of the tool in this run."""
    denial: Annotated[str, one_of(Denial.values)] | UnsetType = UNSET
    expires_at: Timestamp | None


class QuestionAnswerBody(Struct, frozen=True, kw_only=True):
    """The answer of one person to a persona's question."""

    by: UUID | None
    name: str
    text: str
    at: Timestamp


class QuestionBody(Struct, frozen=True, kw_only=True):
    """A question of a persona to people; `id` is that of the call. Each of `asked_of` answers once.

    Without `choices`, an answer is a short text.
    """

    id: UUID
    run: UUID
    message: UUID
    persona: UUID
    text: str
    choices: list[str]
    asked_of: list[UUID]
    state: Annotated[str, one_of(QuestionState.values)]
    answers: list[QuestionAnswerBody]
    expires_at: Timestamp


class MemberBody(Struct, frozen=True, kw_only=True):
    """A member of a room."""

    user: UUID
    name: str
    handle: str
    wood: Annotated[str, one_of(Wood.values)]
    role: Annotated[str, one_of(RoomRole.values)]


class PersonaBody(Struct, frozen=True, kw_only=True):
    """A persona as the members of a room see it."""

    id: UUID
    name: str
    handle: str
    role: str
    goal: str
    pigment: Annotated[str, one_of(Pigment.values)]
    lattice: Annotated[str, one_of(Lattice.values)]
    enabled: bool


class RoomBody(Struct, frozen=True, kw_only=True):
    """A room. Events and lists of rooms have no `member_count`."""

    id: UUID
    team: UUID
    name: str
    topic: str
    privacy: Annotated[str, one_of(Privacy.values)]
    answer_policy: Annotated[str, one_of(AnswerPolicy.values)]
    answers_in: Annotated[str, one_of(AnswersIn.values)] = AnswersIn.ROOM.value
    default_persona: UUID | None
    archived: bool
    persona_turns: int = 0
    muted_personas: list[UUID] = []
    """They answer only messages that name or mention them."""
    direct: bool = False
    """True for the room of a fixed set of users and personas; in events its `name` is empty."""
    for_everyone: bool = False
    """True if everyone who joins the team is added to the room, except guests."""
    mode: Annotated[str, one_of(RoomMode.values)] = RoomMode.EACH.value
    """How several personas answer one message."""
    lead: UUID | None = None
    """The persona that leads in the mode `led`."""
    other_decides: bool = False
    """True if the asker of a run does not decide on its calls."""
    summarizes: bool = True
    """True if a summary of the messages that are too old for personas is kept."""
    member_count: int | UnsetType = UNSET


class RoomState(Struct, frozen=True, kw_only=True):
    """The whole state of a room: `RoomSnapshot.state`, and the data of the room's page."""

    room: RoomBody
    members: list[MemberBody]
    members_complete: bool = True
    """False if the room has more members, which `GET /rooms/{room}/members` returns."""
    personas: list[PersonaBody]
    messages_complete: bool
    """True if the room has no messages before `messages`."""
    runs: list[RunBody]
    """The active runs: the running ones first if there are more than the state has."""
    runs_complete: bool = True
    """False if further runs are queued; their `run.started` has all of them."""
    pins: list[PinnedBody] = []
    """All pinned messages, the last pinned first."""
    approvals: list[ApprovalBody] = []
    """The calls that wait for a decision: the 100 oldest, oldest first."""
    questions: list[QuestionBody] = []
    """The open questions of personas: the 100 oldest, oldest first."""
    messages: list[MessageBody]
    """The newest messages of the room, then those of the threads that the client has open."""
    permissions: list[str]
    """The only field that differs between members. The last two fields: see `complete_state`."""


class LiveAnswer(Struct, frozen=True, kw_only=True, rename={"since": "from"}):
    """The text of the deltas `since` to `seq` of an unfinished answer.

    `stream` is the number of its attempt for `CompactDelta`.
    """

    message: UUID
    run: UUID
    attempt: int
    since: int
    seq: int
    text: str
    stream: int | UnsetType = UNSET
