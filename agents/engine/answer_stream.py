"""One answer: a task that calls the provider, and a generator that yields the parts of the answer.

Every early end (stop, time limit, lost lease) cancels the task. At that moment the task waits for
bytes on its own connection, which httpx closes while the cancellation propagates.
"""

import asyncio
import itertools
import random
import traceback
from collections.abc import AsyncGenerator, Awaitable, Sequence
from dataclasses import replace
from typing import Any, Final

import structlog

from agents import metrics
from agents.engine import crewai_adapter, failures, prompt
from agents.engine.failures import CallAborted
from agents.engine.prompt import Message
from agents.engine.tool_loop import Reply, ToolLoop
from agents.engine.toolbox import CallerFailed
from agents.engine_types import (
    AnswerFailed,
    Finished,
    Limits,
    Part,
    PersonaSpec,
    Surroundings,
    Suspended,
    Text,
    Turn,
    Usage,
)
from agents.tool_types import Acting

STOP_SECONDS: Final = 1.0
MAX_RETRY_AFTER_SECONDS: Final = 60.0
"""If `Retry-After` is longer, the answer fails at once."""
FIRST_BACKOFF_SECONDS: Final = 0.5

log = structlog.get_logger(__name__)


async def stream_answer(
    spec: PersonaSpec,
    turns: Sequence[Turn],
    limits: Limits,
    room: Surroundings | None,
    acting: Acting | None,
) -> AsyncGenerator[Part, None]:
    """Yield the parts of one answer as they arrive, `Finished` or `Suspended` last.

    Raise AnswerFailed, and what the journal and the tools of the room raise.
    """
    answer = _Answer(spec, turns, limits, room, acting)
    task = asyncio.create_task(answer.run())
    task.add_done_callback(lambda _: answer.parts.put_nowait(None))
    try:
        while part := await answer.parts.get():
            yield part
        yield await task
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=STOP_SECONDS)
        if not task.done():
            log.error("answer.not_stopped")
        elif not task.cancelled():
            task.exception()  # retrieved, or asyncio logs it when the task is collected


class _Answer:
    """The state of one answer: its parts so far and the counters that `Limits` bounds."""

    def __init__(
        self,
        spec: PersonaSpec,
        turns: Sequence[Turn],
        limits: Limits,
        room: Surroundings | None,
        acting: Acting | None,
    ) -> None:
        self.parts: asyncio.Queue[Part | None] = asyncio.Queue()
        if spec.max_output_tokens is not None:
            # A persona without a maximum gets none: models reject a maximum above their own limit.
            spec = replace(spec, max_output_tokens=min(spec.max_output_tokens, limits.tokens))
        self._spec = spec
        self._turns = turns
        self._room = room
        self._limits = limits
        self._acting = acting
        self._texts: list[str] = []
        self._first = 0  # where the texts of the current request begin
        self._separator = ""  # goes before the next text
        self._length = 0
        self._chunks = 0
        self._received = 0  # events of the provider in the calls that have ended
        self._tool_characters = 0
        self._call_ended: crewai_adapter.CallEnded | None = None
        self._usage: Usage | None = None
        self._request_usage: Usage | None = None

    async def run(self) -> Finished | Suspended:
        """Answer. Raises AnswerFailed, and what the journal and the tools of the room raise."""
        try:
            async with asyncio.timeout(self._limits.seconds) as self._clock:
                complete = await self._answer()
        except AnswerFailed as failed:
            failure = failed
        except CallerFailed as failed:
            if not isinstance(failed.error, AnswerFailed):
                raise failed.error from None
            failure = failed.error
        except TimeoutError:
            metrics.PROVIDER_ERRORS.labels("timeout").inc()
            failure = AnswerFailed("timeout")
        except Exception as error:
            # Log only the stack frames: the text of the exception may quote a key or a message.
            trace = traceback.format_tb(error.__traceback__)
            log.error("answer.crashed", error=type(error).__name__, trace=trace)
            failure = AnswerFailed("internal")
        else:
            last = Finished if complete else Suspended
            return last("".join(self._texts), self._usage)
        failure.usage = self._usage
        log.info("answer.failed", code=failure.code, shown=bool(self._texts))
        raise failure

    async def request(self, messages: list[Message], tools: list[dict[str, Any]]) -> Reply:
        """Send one request, and show its text while it arrives; raise its last failure.

        The text of a request after the first begins a paragraph of its own.
        """
        self._first = len(self._texts)
        self._request_usage = None
        separator = self._separator = self._end_of_paragraph()
        for attempt in itertools.count():
            try:
                calls, reasoning = await self._run_attempt(messages, tools, attempt)
                break
            except AnswerFailed as failure:
                metrics.PROVIDER_ERRORS.labels(failure.code).inc()
                wait = self._pause_after(failure, attempt)
                if wait is None:
                    raise
            log.info("answer.retry", attempt=attempt, wait=round(wait, 2))
            await asyncio.sleep(wait)
        text = "".join(self._texts[self._first :]).removeprefix(separator)
        return Reply(text, calls, reasoning, self._request_usage)

    def show(self, text: str) -> None:
        """Show the text of a request that a former attempt has sent."""
        if text.strip():
            text = self._end_of_paragraph() + text
            self._length += len(text)
            self._texts.append(text)
            self.parts.put_nowait(Text(text))

    def emit(self, part: Part) -> None:
        """Show something that is no text."""
        self.parts.put_nowait(part)

    def _answer(self) -> Awaitable[bool]:
        """Return the work; its result is False if the answer waits for people or another run."""
        messages = prompt.messages(self._spec, self._turns, self._room)
        if self._acting is None:
            return self._answer_at_once(messages)
        return ToolLoop(self._spec, self._limits, self._acting, self).run(messages)

    async def _answer_at_once(self, messages: list[Message]) -> bool:
        await self.request(messages, [])
        return True

    def _end_of_paragraph(self) -> str:
        text = "".join(self._texts)
        return "" if not text.strip() or text.endswith("\n\n") else "\n\n"

    def _pause_after(self, failure: AnswerFailed, attempt: int) -> float | None:
        """Return the seconds before the next attempt, with exponential backoff and jitter.

        None after `max_attempts`, for a failure other than `provider_unavailable`, if text of this
        request was already published (a retry would repeat the text), if `Retry-After` is too long,
        or if the pause would exceed the time limit.
        """
        shown = len(self._texts) > self._first
        retry_after = failure.retry_after or 0.0
        is_last = attempt + 1 >= self._limits.max_attempts
        if failure.code != "provider_unavailable" or shown or is_last:
            return None
        jitter = random.uniform(1.0, 1.5)  # noqa: S311 - no secret
        wait = retry_after + FIRST_BACKOFF_SECONDS * 2**attempt * jitter
        ends_at = self._clock.when()
        assert ends_at is not None
        out_of_time = wait > ends_at - asyncio.get_running_loop().time()
        return None if out_of_time or retry_after > MAX_RETRY_AFTER_SECONDS else wait

    async def _run_attempt(
        self, messages: list[Message], tools: list[dict[str, Any]], attempt: int
    ) -> tuple[list[dict[str, Any]], str]:
        self._call_ended = None
        llm = crewai_adapter.build_llm(self._spec, attempt)
        with crewai_adapter.stream_sink(self._on_event):
            try:
                result = await crewai_adapter.call_model(llm, self._spec, messages, tools)
            except CallAborted as aborted:
                raise aborted.failure from None
            finally:
                self._received += crewai_adapter.received(llm)
        reason = self._call_ended.finish_reason if self._call_ended else None
        if incomplete := failures.from_finish_reason(reason):
            raise incomplete
        return (result, crewai_adapter.reasoning(llm)) if isinstance(result, list) else ([], "")

    def _on_event(self, event: crewai_adapter.Chunk | crewai_adapter.CallEnded) -> None:
        """Handle one event of the call. CrewAI calls this while it processes the stream."""
        if isinstance(event, crewai_adapter.CallEnded):
            self._call_ended = event
            if event.usage:
                self._usage = _sum(self._usage, event.usage)
                self._request_usage = _sum(self._request_usage, event.usage)
            return
        self._chunks += 1
        if event.tool_call:
            self._tool_characters += len(event.text)
        else:
            shown = event.text[: self._limits.characters - self._length]
            self._length += len(event.text)
            if shown:
                if self._separator:
                    shown, self._separator = self._separator + shown, ""
                self._texts.append(shown)
                self.parts.put_nowait(Text(shown))
        # Some providers report no usage, so count events: each is at least one token. The text of
        # the last event is shown: it may hold the text of many events of the provider.
        tokens = max(self._chunks, self._received + event.received)
        characters = max(self._length, self._tool_characters)
        if tokens > self._limits.tokens or characters > self._limits.characters:
            raise CallAborted(AnswerFailed("too_long"))


def _sum(usage: Usage | None, more: Usage) -> Usage:
    return usage + more if usage else more
