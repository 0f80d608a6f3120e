"""One answer: a task that asks the provider, and a generator that passes on what it hears.

Cancelling the task is how everything ends early: stop, the run's clock, a lost lease. The task
then stands in a read on its own connection, and httpx closes the connection on the way out.
"""

import asyncio
import itertools
import random
import traceback
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Final

import structlog

from agents.egress.guard import EgressRefused
from agents.engine import crewai_adapter, failures, http, prompt
from agents.engine.failures import Halt
from agents.engine.sse_merge import Lines
from agents.engine.surrogates import Cleaner
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
PATIENCE: Final = 60.0
"""The longest `Retry-After` that we wait for."""
FIRST_WAIT: Final = 0.5

log = structlog.get_logger(__name__)


async def parts(
    spec: PersonaSpec, turns: Sequence[Turn], limits: Limits
) -> AsyncGenerator[Part, None]:
    """Yield the parts of one answer as they are made, or raise AnswerFailed."""
    answering = _Answering(spec, turns, limits)
    task = asyncio.create_task(answering.work())
    task.add_done_callback(lambda _: answering.heard.put_nowait(None))
    try:
        while part := await answering.heard.get():
            yield part
        yield await task
    finally:
        await _stop(task)


async def _stop(task: asyncio.Task[Finished]) -> None:
    task.cancel()
    await asyncio.wait({task}, timeout=STOP_SECONDS)
    if not task.done():
        log.error("answer.not_stopped")
    elif not task.cancelled():
        task.exception()  # looked at, or asyncio reports it as forgotten


class _Answering:
    """What one answer has come to so far."""

    def __init__(self, spec: PersonaSpec, turns: Sequence[Turn], limits: Limits) -> None:
        self.heard: asyncio.Queue[Part | None] = asyncio.Queue()
        self._spec = _within(spec, limits)
        self._turns = turns
        self._limits = limits
        self._cleaner = Cleaner()
        self._pieces: list[str] = []
        self._length = 0
        self._chunks = 0
        self._lines = Lines()
        self._written = 0
        self._ended: crewai_adapter.CallEnded | None = None
        self._usage: Usage | None = None

    async def work(self) -> Finished:
        """Ask until there is an answer or a reason to give up; raise nothing but AnswerFailed."""
        try:
            async with asyncio.timeout(self._limits.seconds) as clock:
                await self._ask_until_answered(clock)
        except AnswerFailed as failed:
            failure = failed
        except TimeoutError:
            failure = AnswerFailed("timeout")
        except Exception as error:
            trace = traceback.format_tb(error.__traceback__)  # without its words: they may quote
            log.error("answer.crashed", error=type(error).__name__, trace=trace)
            failure = AnswerFailed("internal")
        else:
            return Finished("".join(self._pieces), self._usage)
        failure.usage = self._usage
        log.info("answer.failed", code=failure.code, shown=bool(self._pieces))
        raise failure

    async def _ask_until_answered(self, clock: asyncio.Timeout) -> None:
        messages = prompt.messages(self._spec, self._turns)
        for tried in itertools.count(1):
            try:
                await self._ask(messages, tried - 1)
                return
            except AnswerFailed as failure:
                asked_to_wait = failure.retry_after or 0.0
                if not self._may_ask_again(failure, tried) or asked_to_wait > PATIENCE:
                    raise
                wait = asked_to_wait + _pause(tried)
                if wait > _time_left(clock):
                    raise
            log.info("answer.retry", tried=tried, wait=round(wait, 2))
            await asyncio.sleep(wait)

    def _may_ask_again(self, failure: AnswerFailed, tried: int) -> bool:
        """Only what may pass by itself, and only while the room has seen nothing of the answer."""
        passing = failure.code == "provider_unavailable"
        return passing and not self._pieces and tried < self._limits.tries

    async def _ask(self, messages: list[prompt.Message], tried: int) -> None:
        self._ended = None
        with crewai_adapter.listening(self._hear):
            async with http.exchange(self._spec.key, self._spec.team_id, tried) as exchange:
                self._lines = exchange.lines
                try:
                    await crewai_adapter.ask(self._spec, messages)
                    self._tell(self._cleaner.rest())
                except Halt as halt:
                    raise halt.failure from None
                except EgressRefused:
                    raise AnswerFailed("not_allowed") from None
                except Exception as error:
                    answering = exchange.response is not None
                    failure = failures.of_exception(error, answering=answering)
                    if failure is None:
                        raise
                    log.info("answer.call_failed", error=type(error).__name__)
                    raise failure from None
        reason = self._ended.finish_reason if self._ended else None
        if early := failures.of_finish(reason):
            raise early

    def _hear(self, event: crewai_adapter.Chunk | crewai_adapter.CallEnded) -> None:
        if isinstance(event, crewai_adapter.Chunk):
            self._count(event)
            if event.text and not event.to_tool:
                self._tell(self._cleaner.clean(event.text))
            return
        self._ended = event
        if event.usage:
            self._usage = event.usage + self._usage if self._usage else event.usage

    def _count(self, chunk: crewai_adapter.Chunk) -> None:
        """A piece of the provider's is a token at least; how many it was, some never say."""
        self._chunks += 1
        if chunk.to_tool:
            self._written += len(chunk.text)
        tokens = self._chunks + self._lines.joined
        if tokens > self._limits.tokens or self._written > self._limits.characters:
            raise Halt(AnswerFailed("too_long"))

    def _tell(self, text: str) -> None:
        room_left = self._limits.characters - self._length
        if told := text[:room_left]:
            self._pieces.append(told)
            self._length += len(told)
            self.heard.put_nowait(Text(told))
        if len(text) > room_left:
            raise Halt(AnswerFailed("too_long"))


def _within(spec: PersonaSpec, limits: Limits) -> PersonaSpec:
    """A persona may ask for less than the limit, not for more; one that asks for nothing is not
    given a number: models refuse one that is above their own.
    """
    wished = spec.max_output_tokens
    return spec if wished is None else replace(spec, max_output_tokens=min(wished, limits.tokens))


def _pause(tried: int) -> float:
    """Never nothing, twice as long each time, and not in step with other runs."""
    return FIRST_WAIT * float(2 ** (tried - 1)) * random.uniform(1.0, 1.5)  # noqa: S311 - no secret


def _time_left(clock: asyncio.Timeout) -> float:
    ends = clock.when()
    assert ends is not None
    return ends - asyncio.get_running_loop().time()
