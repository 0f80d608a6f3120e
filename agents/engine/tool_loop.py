"""The loop of an answer with tools: a request, its calls, their results, the next request.

Every request that is not the last is stored by the journal before its calls are executed, so that
an answer that waits, or whose worker dies, goes on without a second request or a second call.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from accounts.ids import new_id
from agents.engine import prompt, tool_arguments
from agents.engine.prompt import Message
from agents.engine.toolbox import CallerFailed, Toolbox
from agents.engine_types import (
    AnswerFailed,
    Limits,
    Part,
    PersonaSpec,
    ToolFinished,
    ToolStarted,
    Usage,
)
from agents.tool_types import MAX_EXTRA, Acting, CallRequest, PastCall, ToolResult
from agents.tools import result_words
from agents.untrusted_text import storable

R = TypeVar("R")
MAX_ID: Final = 64
"""Our own bound: providers use up to 40 characters."""
MAX_NAME: Final = 64
STORE_SECONDS: Final = 0.3
"""How long a stop waits for the result of a call to be stored."""
LATER: Final = frozenset({"proposed", "asked", "running"})
"""States of calls whose results come later, from people or from other runs."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model has sent for one request: its text, and its calls in OpenAI's form.

    `reasoning` is what the provider wants back with the calls as `reasoning_content`.
    """

    text: str
    calls: Sequence[dict[str, Any]] = ()
    reasoning: str = ""
    usage: Usage | None = None

    @property
    def tokens(self) -> tuple[int, int] | None:
        return (self.usage.input_tokens, self.usage.output_tokens) if self.usage else None


class Stream(Protocol):
    """The answer as its reader sees it."""

    async def request(self, messages: list[Message], tools: list[dict[str, Any]]) -> Reply:
        """Send one request, show its text while it arrives, and return the whole reply."""
        ...

    def show(self, text: str) -> None:
        """Show the text of a former request again."""
        ...

    def emit(self, part: Part) -> None:
        """Show something else."""
        ...


class ToolLoop:
    """One attempt of one answer with tools, or with steering."""

    def __init__(self, spec: PersonaSpec, limits: Limits, acting: Acting, stream: Stream) -> None:
        self._limits = limits
        self._past = acting.past
        self._journal = acting.journal
        self._stream = stream
        self._toolbox = Toolbox(spec.tools, acting.functions, limits.call_seconds, spec.team_id)
        self._calls = 0
        self._ids: set[str] = set()

    async def run(self, messages: list[Message]) -> bool:
        """Answer; return False if the answer waits for calls whose results come later.

        Raise AnswerFailed and CallerFailed. `messages` grows by what is said and done.
        """
        tools = self._toolbox.schemas()
        async with aclosing(self._toolbox):
            if not await self._resume(messages):
                return False
            number = self._past[-1].number + 1 if self._past else 0
            while number < self._limits.tool_requests:
                # A persona may have lost its tools while the answer waited.
                sent = messages if tools else prompt.without_calls(messages)
                reply = await self._stream.request(sent, tools)
                if tools and reply.calls:
                    if not await self._act(messages, number, reply):
                        return False
                elif not await self._steer(messages, number, reply, final=True):
                    return True
                number += 1
            reply = await self._stream.request(prompt.without_calls(messages), [])
        if tools and reply.calls and not reply.text.strip():
            raise AnswerFailed("tool_limit")
        return True

    async def _resume(self, messages: list[Message]) -> bool:
        """Show and add what former attempts have stored; execute calls that have not begun."""
        for past in self._past:
            self._stream.show(past.text)
            self._calls += len(past.calls)
            self._ids.update(call.request.call_id for call in past.calls)
        for past in self._past:
            if past.calls:
                if not await self._finish(messages, past.text, past.calls):
                    return False
            else:
                messages += _said(past.text)
            messages += [prompt.said_by("user", line.author, line.text) for line in past.steering]
        if self._past:
            last = self._past[-1]
            await self._steer(messages, last.number, Reply(last.text), final=False)
        return True

    async def _act(self, messages: list[Message], number: int, reply: Reply) -> bool:
        """Store the calls of a reply and execute those that may run now."""
        calls = await self._read_calls(number, reply)
        proposed = await _of_caller(self._journal.propose(number, reply.text, reply.tokens, calls))
        if not await self._finish(messages, reply.text, proposed):
            return False
        await self._steer(messages, number, reply, final=False)
        return True

    async def _steer(
        self, messages: list[Message], number: int, reply: Reply, *, final: bool
    ) -> bool:
        """Add the lines of members; with `final`, after the text. Return True if there are any."""
        lines = await _of_caller(
            self._journal.steering(number, reply.text, reply.tokens, final=final)
        )
        if lines and final:
            messages += _said(reply.text)
        messages += [prompt.said_by("user", line.author, line.text) for line in lines]
        return bool(lines)

    async def _read_calls(self, number: int, reply: Reply) -> list[CallRequest]:
        """Return the calls as they are stored; raise AnswerFailed if there are too many."""
        self._calls += len(reply.calls)
        if len(reply.calls) > self._limits.calls_per_request or self._calls > self._limits.calls:
            raise AnswerFailed("tool_limit")
        calls: list[CallRequest] = []
        for position, call in enumerate(reply.calls):
            reasoning = "" if position else reply.reasoning
            calls.append(self._read_call(call, f"call_{number}_{position}", reasoning))
            await asyncio.sleep(0)  # a check takes up to 20 ms: other answers go on between them
        return calls

    def _read_call(self, call: dict[str, Any], own_id: str, reasoning: str) -> CallRequest:
        name = re.sub(r"[^a-zA-Z0-9_-]", "_", call["function"]["name"])[:MAX_NAME] or "unknown"
        call_id = call["id"]
        if call_id in self._ids or len(call_id) > MAX_ID or not call_id.isprintable():
            call_id = own_id
        self._ids.add(call_id)
        spec = self._toolbox.find(call["function"]["name"])
        written, problem = "{}", ""
        try:
            written, arguments = tool_arguments.read(call["function"]["arguments"])
            if spec is not None:
                tool_arguments.check(arguments, spec.parameters)
        except tool_arguments.WrongArguments as wrong:
            problem = str(wrong)
        if spec is None:
            problem = "There is no such tool."
        extra = _extra(call.get("extra_content"), reasoning)
        return CallRequest(new_id(), call_id, name, written, spec, problem, extra)

    async def _finish(self, messages: list[Message], text: str, calls: Sequence[PastCall]) -> bool:
        """Execute the calls that may run, all at once; add the request and its results.

        Return False if a result comes later.
        """
        running = [asyncio.create_task(self._result_of(call)) for call in calls]
        try:
            results = await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.wait(running)
        if None in results:
            return False
        requests = [call.request for call in calls]
        messages.append(_asking(text, requests))
        for request, result in zip(requests, results, strict=True):
            assert result is not None
            content = result_words.for_model(request.name, result)
            messages.append({"role": "tool", "tool_call_id": request.call_id, "content": content})
        return True

    async def _result_of(self, call: PastCall) -> ToolResult | None:
        """Return the result of a call, executed now if it may; None if the result comes later."""
        if call.state == "allowed":
            return await self._execute(call.request)
        if call.state in LATER:
            return None
        return result_words.of_call(call)

    async def _execute(self, call: CallRequest) -> ToolResult | None:
        if (refusal := await _of_caller(self._journal.begin(call.id))) is not None:
            return refusal
        title = call.spec.title if call.spec else call.name
        self._stream.emit(ToolStarted(str(call.id), call.name, title))
        loop = asyncio.get_running_loop()
        began = loop.time()
        result = await self._toolbox.run(call)
        if result is None:
            return None
        ms = round((loop.time() - began) * 1000)
        await self._store(call, result, ms)
        self._stream.emit(ToolFinished(str(call.id), call.name, result.short or title, ms))
        return result

    async def _store(self, call: CallRequest, result: ToolResult, ms: int) -> None:
        """Store the result of a call, also if the answer is stopped before it is stored.

        A worker that restarts would leave the call `unknown` otherwise.
        """
        storing = asyncio.create_task(_of_caller(self._journal.finish(call.id, result, ms)))
        try:
            await asyncio.shield(storing)
        except asyncio.CancelledError:
            await asyncio.wait({storing}, timeout=STORE_SECONDS)
            storing.cancel()
            if storing.done() and not storing.cancelled():
                storing.exception()  # retrieved, or asyncio logs it when the task is collected
            raise


def _said(text: str) -> list[Message]:
    """Return the message of the persona itself; none without text, which providers reject."""
    return [{"role": "assistant", "content": text}] if text.strip() else []


def _extra(content: object, reasoning: str) -> str:
    """Return what the provider wants back with a call: its own field, and that of its message."""
    fields = {"extra_content": content} if content else {}
    extra = {"call": fields, "message": {"reasoning_content": reasoning} if reasoning else {}}
    written = storable(json.dumps(extra, ensure_ascii=False))
    return written if (content or reasoning) and len(written) <= MAX_EXTRA else ""


def _asking(text: str, calls: Sequence[CallRequest]) -> Message:
    """Return the message in which the model has asked for these calls."""
    message = Message(role="assistant", content=text or None, tool_calls=[])
    for call in calls:
        extra = json.loads(call.extra) if call.extra else {"call": {}, "message": {}}
        function = {"name": call.name, "arguments": call.arguments}
        asked = {"id": call.call_id, "type": "function", "function": function}
        message["tool_calls"].append(asked | extra["call"])
        message |= extra["message"]
    return message


async def _of_caller(work: Awaitable[R]) -> R:
    """Await a method of the journal; raise CallerFailed for its error."""
    try:
        return await work
    except Exception as error:
        raise CallerFailed(error) from None
