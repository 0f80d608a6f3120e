"""A journal in memory, tools for tests, and an answer with tools and all of its parts."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

from agents.engine import answer
from agents.engine_types import AnswerFailed, Finished, Limits, Part, PersonaSpec, Suspended, Text
from agents.tool_types import (
    Acting,
    CallRequest,
    CallStateName,
    PastCall,
    PastRequest,
    Steering,
    ToolFunction,
    ToolResult,
    ToolSpec,
)
from agents.tools import result_words
from tests.agents.engine.answers import persona, user_turn
from tests.deadlines import DEADLINE
from tests.provider import Provider

Work = Callable[[dict[str, Any]], Awaitable[ToolResult | None]]


def tool(name: str = "look", **changes: Any) -> ToolSpec:
    """Return a tool of the room; its function is the one named `name` of `Acting.functions`."""
    spec = ToolSpec(
        id=uuid4(),
        name=name,
        title=name.title(),
        description=f"Use this to {name}.",
        parameters={"type": "object", "properties": {}},
        reach="room",
        changes=False,
        idempotent=False,
        source="own",
        key=name,
    )
    return replace(spec, **changes)


def line(text: str, author: str = "Bo") -> Steering:
    return Steering(uuid4(), author, text)


@dataclass
class MemoryJournal:
    """The journal of one run: what it has stored, and what it shall answer.

    `policy` is the state of each new call by the name of its tool, `allowed` by default. `before`
    has lines for `steering` by the number of the request; `after` those for a finished text.
    """

    policy: dict[str, CallStateName] = field(default_factory=dict)
    before: dict[int, list[Steering]] = field(default_factory=dict)
    after: dict[int, list[Steering]] = field(default_factory=dict)
    requests: dict[int, PastRequest] = field(default_factory=dict)
    states: dict[UUID, CallStateName] = field(default_factory=dict)
    results: dict[UUID, ToolResult] = field(default_factory=dict)
    tokens: dict[int, tuple[int, int] | None] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    fails: dict[str, Exception] = field(default_factory=dict)
    """What a method raises, by its name."""

    async def propose(
        self,
        number: int,
        text: str,
        tokens: tuple[int, int] | None,
        calls: Sequence[CallRequest],
    ) -> Sequence[PastCall]:
        self._note(f"propose {number}", "propose")
        self.tokens[number] = tokens
        for call in calls:
            state = self.policy.get(call.name, "allowed") if call.spec else "denied"
            self.states[call.id] = "failed" if call.problem else state
        self.requests[number] = PastRequest(number, text, [PastCall(c, "proposed") for c in calls])
        return [PastCall(call, self.states[call.id]) for call in calls]

    async def begin(self, call: UUID) -> ToolResult | None:
        self._note(f"begin {self.name_of(call)}", "begin")
        if self.states[call] != "allowed":
            return result_words.denied(None)
        self.states[call] = "running"
        return None

    async def finish(self, call: UUID, result: ToolResult, ms: int) -> None:
        self._note(f"finish {self.name_of(call)}", "finish")
        assert self.states[call] == "running"
        self.states[call] = "failed" if result.failed else "done"
        self.results[call] = result

    async def steering(
        self, number: int, text: str, tokens: tuple[int, int] | None, *, final: bool
    ) -> Sequence[Steering]:
        self._note(f"steering {number}{' final' if final else ''}", "steering")
        lines = (self.after if final else self.before).pop(number, [])
        if lines:
            if final:
                self.tokens[number] = tokens
            stored = self.requests.get(number, PastRequest(number, text))
            self.requests[number] = replace(stored, steering=[*stored.steering, *lines])
        return lines

    def past(self) -> list[PastRequest]:
        """Return what a new attempt gets."""
        return [
            replace(request, calls=[self._past_call(call.request) for call in request.calls])
            for request in self.requests.values()
        ]

    def calls(self, name: str = "look") -> list[CallRequest]:
        return [
            call.request
            for request in self.requests.values()
            for call in request.calls
            if call.request.name == name
        ]

    def state_of(self, name: str) -> CallStateName:
        """Return the state of the last call of a tool."""
        return self.states[self.calls(name)[-1].id]

    def name_of(self, call: UUID) -> str:
        return next(
            known.request.name
            for request in self.requests.values()
            for known in request.calls
            if known.request.id == call
        )

    def _past_call(self, request: CallRequest) -> PastCall:
        return PastCall(request, self.states[request.id], self.results.get(request.id))

    def _note(self, event: str, method: str) -> None:
        self.events.append(event)
        if error := self.fails.get(method):
            raise error


@dataclass
class ActingAnswer:
    """The parts of one answer with tools, and how it ended."""

    journal: MemoryJournal
    parts: list[Part] = field(default_factory=list)
    failed: AnswerFailed | None = None

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def code(self) -> str | None:
        return self.failed.code if self.failed else None

    @property
    def last(self) -> Finished | Suspended:
        assert isinstance(self.parts[-1], Finished | Suspended)
        return self.parts[-1]


@dataclass
class Stage:
    """Answers of one persona of the stub provider with these tools."""

    provider: Provider
    specs: tuple[ToolSpec, ...] = (tool(),)
    functions: dict[str, Work] = field(default_factory=dict)
    model: str = "tools"
    limits: Limits = field(default_factory=lambda: Limits(seconds=4 * DEADLINE))
    spec_changes: dict[str, Any] = field(default_factory=dict)

    def acting(self, journal: MemoryJournal, past: Sequence[PastRequest] = ()) -> Acting:
        functions = {spec.key: self._function(spec.key) for spec in self.specs}
        return Acting(journal, past, functions)

    def persona(self) -> PersonaSpec:
        return persona(self.provider.base_url, self.model, tools=self.specs, **self.spec_changes)

    async def ask(
        self,
        question: str,
        journal: MemoryJournal | None = None,
        past: Sequence[PastRequest] = (),
    ) -> ActingAnswer:
        """Collect a whole answer. An AnswerFailed is returned in the result, not raised."""
        result = ActingAnswer(journal or MemoryJournal())
        stream = answer(
            self.persona(),
            [user_turn(question)],
            limits=self.limits,
            acting=self.acting(result.journal, past),
        )
        try:
            async with aclosing(stream) as parts:
                async for part in parts:
                    result.parts.append(part)
        except AnswerFailed as failed:
            result.failed = failed
        return result

    def tool_messages(self, request: int = -1) -> list[str]:
        """Return the results of tools that a request has given to the model."""
        messages = self.provider.requests[request].messages
        return [message["content"] for message in messages if message["role"] == "tool"]

    def _function(self, key: str) -> ToolFunction:
        work = self.functions.get(key, echo)

        async def call(_id: str, arguments: Mapping[str, Any]) -> ToolResult | None:
            return await work(dict(arguments))

        return call


async def echo(arguments: dict[str, Any]) -> ToolResult:
    """Return the arguments."""
    return ToolResult(str(arguments))


async def forever(_arguments: dict[str, Any]) -> ToolResult:
    """Do not return."""
    await asyncio.Event().wait()
    raise AssertionError
