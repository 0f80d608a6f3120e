"""The types of tools, and of what the engine asks its caller about them while a run uses tools.

This module imports neither CrewAI nor Django's models, so a web process can import it cheaply.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol
from uuid import UUID

MAX_ARGUMENTS: Final = 64 * 1024
"""The longest arguments of a call, in characters."""
MAX_EXTRA: Final = 80 * 1024
"""The longest `extra` of a call, in characters."""
MAX_STORED_RESULT: Final = 64 * 1024
"""The longest result that is stored, in characters."""
MAX_RESULT: Final = 8 * 1024
"""The longest result that the model gets, in characters."""


@dataclass(frozen=True, slots=True)
class McpSpec:
    """A server with tools, copied when a run starts; `repr` shows no secret.

    `user` is the person whose sign-in is used; None for the sign-in of the team.
    """

    id: UUID
    team_id: UUID
    url: str
    auth: Literal["none", "bearer", "oauth"] = "none"
    user: UUID | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool that a persona may use, copied when a run starts.

    `name` is what the model sees. `key` says which code runs it: the key in the catalog, the dotted
    path of an installed class, or the server's name of the tool. `parameters` is a JSON schema.
    `sha256` is the hash of the definition; "" for our own tools, which change only with the code.
    """

    id: UUID
    name: str
    title: str
    description: str
    parameters: Mapping[str, Any]
    reach: Literal["room", "team", "internet"]
    changes: bool
    idempotent: bool
    source: Literal["own", "installed", "mcp"]
    key: str
    server: McpSpec | None = None
    sha256: str = ""

    @property
    def personal(self) -> bool:
        """True if the tool runs with the sign-in of the asker."""
        return self.server is not None and self.server.user is not None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of a call. `text` is for the model, `short` is a word or two for all members.

    With `failed`, `text` says why, in words for the model. `read` has the texts of the room's
    messages that are in `text`, by their ids, as they were then.
    """

    text: str
    short: str = ""
    failed: bool = False
    read: Mapping[UUID, str] = field(default_factory=dict, repr=False)


ToolFunction = Callable[[str, Mapping[str, Any]], Awaitable[ToolResult | None]]
"""Executes a tool that needs the room: from the id of the call and its arguments, to its result.

None says that the result comes later, from people or from another run: the call stays `running`,
and the engine ends the attempt with `Suspended`. Raises nothing but what ends the run.
"""

CallStateName = Literal[
    "proposed", "asked", "allowed", "denied", "running", "done", "failed", "unknown"
]


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A call that the model has asked for.

    `id` is our id of the call, `call_id` the one that the model gets back. `spec` is None if there
    is no such tool. `problem` says, in words for the model, why the call cannot be executed.
    `extra` is JSON that the provider wants back with the call, in every later request of the run.
    """

    id: UUID
    call_id: str
    name: str
    arguments: str
    spec: ToolSpec | None
    problem: str = ""
    extra: str = ""


@dataclass(frozen=True, slots=True)
class PastCall:
    """A stored call with its state, and its result so far; for a denied one, why it was denied."""

    request: CallRequest
    state: CallStateName
    result: ToolResult | None = None


@dataclass(frozen=True, slots=True)
class Steering:
    """A member's line to a running answer; `author` is a label that no other speaker has."""

    id: UUID
    author: str
    text: str


@dataclass(frozen=True, slots=True)
class PastRequest:
    """A request of this run that was stored: its text, its calls, and the lines that followed."""

    number: int
    text: str
    calls: Sequence[PastCall] = ()
    steering: Sequence[Steering] = ()


class Journal(Protocol):
    """Stores what a run does, before and after it is done; each method is one short transaction.

    All methods raise if the worker has lost the run, or if the run may not go on.
    """

    async def propose(
        self, number: int, text: str, tokens: tuple[int, int] | None, calls: Sequence[CallRequest]
    ) -> Sequence[PastCall]:
        """Store a request that asked for calls; return each call as `allowed`, `asked`, `denied`
        or, for a call with a `problem`, `failed`."""
        ...

    async def begin(self, call: UUID) -> ToolResult | None:
        """Ask once more whether the call may run, and store that it runs.

        Return None if it runs. If it may not, return what the model gets instead of a result.
        """
        ...

    async def finish(self, call: UUID, result: ToolResult, ms: int) -> None:
        """Store the result of a call."""
        ...

    async def steering(
        self, number: int, text: str, tokens: tuple[int, int] | None, *, final: bool
    ) -> Sequence[Steering]:
        """Return the lines that the next request must contain, and store that they are applied.

        Asked after the request `number`. With `final`, the model has ended its answer with `text`:
        if there are lines, the request is stored, and the answer goes on with another one.
        """
        ...


@dataclass(frozen=True, slots=True)
class Acting:
    """What the engine needs for an answer with tools or steering.

    `functions` are the tools that need the room, by their key.
    """

    journal: Journal
    past: Sequence[PastRequest] = ()
    functions: Mapping[str, ToolFunction] = field(default_factory=dict)
