"""One answer: a task that calls the provider, and a generator that yields the parts of the answer.

Every early end (stop, time limit, lost lease) cancels the task. At that moment the task waits for
bytes on its own connection, which httpx closes while the cancellation propagates.
"""

import asyncio
import itertools
import random
import traceback
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Final

import structlog

from agents import metrics
from agents.engine import crewai_adapter, failures, prompt
from agents.engine.failures import CallAborted
from agents.engine_types import (
    AnswerFailed,
    Finished,
    Limits,
    Part,
    PersonaSpec,
    Text,
    Turn,
    Usage,
)

STOP_SECONDS: Final = 1.0
MAX_RETRY_AFTER_SECONDS: Final = 60.0
"""If `Retry-After` is longer, the answer fails at once."""
FIRST_BACKOFF_SECONDS: Final = 0.5

log = structlog.get_logger(__name__)


async def stream_answer(
    spec: PersonaSpec, turns: Sequence[Turn], limits: Limits
) -> AsyncGenerator[Part, None]:
    """Yield the parts of one answer as they arrive, `Finished` last; raise AnswerFailed."""
    answer = _Answer(spec, turns, limits)
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

    def __init__(self, spec: PersonaSpec, turns: Sequence[Turn], limits: Limits) -> None:
        self.parts: asyncio.Queue[Part | None] = asyncio.Queue()
        if spec.max_output_tokens is not None:
            # A persona without a maximum gets none: models reject a maximum above their own limit.
            spec = replace(spec, max_output_tokens=min(spec.max_output_tokens, limits.tokens))
        self._spec = spec
        self._turns = turns
        self._limits = limits
        self._texts: list[str] = []
        self._length = 0
        self._chunks = 0
        self._tool_characters = 0
        self._call_ended: crewai_adapter.CallEnded | None = None
        self._usage: Usage | None = None

    async def run(self) -> Finished:
        """Call the provider until an attempt succeeds. Raises only AnswerFailed."""
        try:
            async with asyncio.timeout(self._limits.seconds) as clock:
                await self._run_attempts(clock)
        except AnswerFailed as failed:
            failure = failed
        except TimeoutError:
            metrics.PROVIDER_ERRORS.labels("timeout").inc()
            failure = AnswerFailed("timeout")
        except Exception as error:
            # Log only the stack frames: the text of the exception may quote a key or a message.
            trace = traceback.format_tb(error.__traceback__)
            log.error("answer.crashed", error=type(error).__name__, trace=trace)
            failure = AnswerFailed("internal")
        else:
            return Finished("".join(self._texts), self._usage)
        failure.usage = self._usage
        log.info("answer.failed", code=failure.code, shown=bool(self._texts))
        raise failure

    async def _run_attempts(self, clock: asyncio.Timeout) -> None:
        """Run attempts; retry `provider_unavailable` with exponential backoff and jitter.

        Raises the last failure after `max_attempts`, if text was already published (a retry would
        repeat the text), if `Retry-After` is too long, or if the pause would exceed the time limit.
        """
        messages = prompt.messages(self._spec, self._turns)
        for attempt in itertools.count():
            try:
                await self._run_attempt(messages, attempt)
                return
            except AnswerFailed as failure:
                metrics.PROVIDER_ERRORS.labels(failure.code).inc()
                retryable = failure.code == "provider_unavailable" and not self._texts
                retry_after = failure.retry_after or 0.0
                if not retryable or retry_after > MAX_RETRY_AFTER_SECONDS:
                    raise
                jitter = random.uniform(1.0, 1.5)  # noqa: S311 - no secret
                wait = retry_after + FIRST_BACKOFF_SECONDS * 2**attempt * jitter
                ends_at = clock.when()
                assert ends_at is not None
                out_of_time = wait > ends_at - asyncio.get_running_loop().time()
                if out_of_time or attempt + 1 >= self._limits.max_attempts:
                    raise
            log.info("answer.retry", attempt=attempt, wait=round(wait, 2))
            await asyncio.sleep(wait)

    async def _run_attempt(self, messages: list[prompt.Message], attempt: int) -> None:
        self._call_ended = None
        llm = crewai_adapter.build_llm(self._spec, attempt)
        with crewai_adapter.stream_sink(self._on_event):
            try:
                await crewai_adapter.call_model(llm, self._spec, messages)
            except CallAborted as aborted:
                raise aborted.failure from None
        reason = self._call_ended.finish_reason if self._call_ended else None
        if incomplete := failures.from_finish_reason(reason):
            raise incomplete

    def _on_event(self, event: crewai_adapter.Chunk | crewai_adapter.CallEnded) -> None:
        """Handle one event of the call. CrewAI calls this while it processes the stream."""
        if isinstance(event, crewai_adapter.CallEnded):
            self._call_ended = event
            if event.usage:
                self._usage = event.usage + self._usage if self._usage else event.usage
            return
        self._chunks += 1
        if event.tool_call:
            self._tool_characters += len(event.text)
        else:
            shown = event.text[: self._limits.characters - self._length]
            self._length += len(event.text)
            if shown:
                self._texts.append(shown)
                self.parts.put_nowait(Text(shown))
        # Some providers report no usage, so count events: each is at least one token. The text of
        # the last event is shown: it may hold the text of many events of the provider.
        tokens = max(self._chunks, event.received)
        characters = max(self._length, self._tool_characters)
        if tokens > self._limits.tokens or characters > self._limits.characters:
            raise CallAborted(AnswerFailed("too_long"))
