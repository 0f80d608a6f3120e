"""Stopping an answer with tools: its tools end, its connection closes, and no call follows."""

import asyncio
import random
import threading
import time
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any
from uuid import UUID

import pytest

from agents.engine import answer
from agents.engine_types import Limits, Part
from agents.tool_types import CallRequest, PastCall, ToolResult
from tests.agents.engine.answers import user_turn
from tests.agents.engine.tools.acting import MemoryJournal, Stage, forever, tool
from tests.deadlines import DEADLINE
from tests.provider import Provider

SCRIPT = """TEXT One.
USE look {} & look {} & slow {}
TEXT Two.
WAIT 0.1
USE slow {} & look {}
TEXT Three."""


class SlowJournal(MemoryJournal):
    """Each method takes a few milliseconds, as a transaction does."""

    async def propose(
        self, number: int, text: str, tokens: tuple[int, int] | None, calls: Sequence[CallRequest]
    ) -> Sequence[PastCall]:
        await asyncio.sleep(0.01)
        return await super().propose(number, text, tokens, calls)


class Watched(Stage):
    """A stage that counts the tools that run."""

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider, (tool("look"), tool("slow")))
        self.running = 0
        self.seconds = 0.06
        self.functions = {"look": self.look, "slow": self.slow}

    async def look(self, _arguments: dict[str, Any]) -> ToolResult:
        return await self._wait(0.005)

    async def slow(self, _arguments: dict[str, Any]) -> ToolResult:
        return await self._wait(self.seconds)

    async def _wait(self, seconds: float) -> ToolResult:
        self.running += 1
        try:
            await asyncio.sleep(seconds)
            return ToolResult("ok")
        finally:
            self.running -= 1


@pytest.mark.parametrize("seed", range(30))
async def test_a_stop_at_any_moment_ends_the_tools_and_the_run(
    provider: Provider, seed: int
) -> None:
    stage, journal = Watched(provider), SlowJournal()
    parts: list[Part] = []

    async def collect() -> None:
        acting = stage.acting(journal)
        stream = answer(stage.persona(), [user_turn(SCRIPT)], limits=stage.limits, acting=acting)
        async with aclosing(stream):
            async for part in stream:
                parts.append(part)  # noqa: PERF401 - the parts before the stop

    task = asyncio.create_task(collect())
    assert await provider.until(lambda provider: bool(provider.requests))
    await asyncio.sleep(random.Random(seed).uniform(0, 0.35))

    task.cancel()
    began = time.monotonic()
    await asyncio.wait({task}, timeout=DEADLINE)
    ended = time.monotonic()
    events, count = [*journal.events], len(parts)
    running = stage.running

    assert task.done()
    assert ended - began < 1
    assert running == 0
    assert await provider.until(lambda provider: provider.connections == 0)
    assert (journal.events, len(parts)) == (events, count)
    assert len(asyncio.all_tasks()) == 1


async def test_a_tool_that_ignores_its_cancellation_does_not_hold_a_stop(
    provider: Provider,
) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def stubborn(_arguments: dict[str, Any]) -> ToolResult:
        started.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return ToolResult("late")

    stage = Stage(provider, functions={"look": stubborn})
    task = asyncio.create_task(stage.ask("USE look {}"))
    async with asyncio.timeout(DEADLINE):
        await started.wait()

    task.cancel()
    began = time.monotonic()
    await asyncio.wait({task}, timeout=DEADLINE)
    ended = time.monotonic()
    release.set()

    assert task.cancelled()
    assert ended - began < 1


async def test_a_result_is_stored_although_the_answer_is_stopped(
    provider: Provider,
) -> None:
    storing = asyncio.Event()

    class Journal(MemoryJournal):
        async def finish(self, call: UUID, result: ToolResult, ms: int) -> None:
            storing.set()
            await asyncio.sleep(0.02)
            await super().finish(call, result, ms)

    stage, journal = Watched(provider), Journal()
    task = asyncio.create_task(stage.ask("USE look {}", journal=journal))
    async with asyncio.timeout(DEADLINE):
        await storing.wait()

    task.cancel()
    await asyncio.wait({task}, timeout=DEADLINE)

    assert task.cancelled()
    assert journal.state_of("look") == "done"
    assert len(asyncio.all_tasks()) == 1


async def test_a_tool_that_takes_too_long_is_stopped_and_the_answer_goes_on(
    provider: Provider,
) -> None:
    cancelled = asyncio.Event()

    async def endless(_arguments: dict[str, Any]) -> ToolResult:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    stage = Stage(provider, functions={"look": endless})
    stage.limits = Limits(seconds=4 * DEADLINE, call_seconds=0.05)

    result = await stage.ask("USE look {}\nTEXT So.")

    assert result.text == "So. "
    assert cancelled.is_set()
    assert stage.tool_messages() == ["[failure of look]\nThe tool took too long, and was stopped."]
    assert result.journal.state_of("look") == "failed"


async def test_a_tool_that_stores_may_wait_for_the_database(provider: Provider) -> None:
    async def stored_late(_arguments: dict[str, Any]) -> ToolResult:
        await asyncio.sleep(0.2)
        return ToolResult("stored")

    stage = Stage(provider, (tool("ask_people"),), {"ask_people": stored_late})
    stage.limits = Limits(seconds=4 * DEADLINE, call_seconds=0.05)

    await stage.ask("USE ask_people {}\nTEXT So.")

    assert stage.tool_messages() == ["[result of ask_people]\nstored"]


async def test_a_stopped_call_that_changes_something_may_have_had_an_effect(
    provider: Provider,
) -> None:
    stage = Stage(provider, (tool(changes=True),), {"look": forever})
    stage.limits = Limits(seconds=4 * DEADLINE, call_seconds=0.05)

    await stage.ask("USE look {}\nTEXT So.")

    assert "not known whether the call had an effect" in stage.tool_messages()[0]


async def test_the_time_limit_of_the_answer_ends_its_tools(provider: Provider) -> None:
    stage = Watched(provider)
    stage.limits = Limits(seconds=0.3)
    stage.functions["slow"] = lambda _: asyncio.Event().wait()  # type: ignore[assignment,return-value]

    result = await stage.ask("USE slow {}")

    assert result.code == "timeout"
    assert len(asyncio.all_tasks()) == 1


async def test_a_failure_of_the_journal_ends_the_other_calls(provider: Provider) -> None:
    stage = Watched(provider)
    stage.seconds = 10 * DEADLINE
    journal = MemoryJournal(fails={"finish": ConnectionError()})

    async with asyncio.timeout(DEADLINE):
        with pytest.raises(ConnectionError):
            await stage.ask("USE slow {} & look {} & slow {}", journal)

    assert stage.running == 0


async def test_two_hundred_answers_with_tools_leak_no_tasks_and_threads(
    provider: Provider,
) -> None:
    stage = Stage(provider, limits=Limits(seconds=4 * DEADLINE, call_seconds=0.01))

    async def answers(number: int) -> tuple[int, int]:
        for _ in range(number):
            await stage.ask("USE look {} & look {}\nTEXT End.")
        return len(asyncio.all_tasks()), threading.active_count()

    before = await answers(10)
    after = await answers(200)

    assert after <= before
