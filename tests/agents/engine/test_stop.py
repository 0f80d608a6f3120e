"""Stopping an answer: no part follows, the connection is closed, and no resource leaks."""

import asyncio
import random
import threading
from contextlib import aclosing
from pathlib import Path

import pytest

from agents.engine import answer
from agents.engine_types import Limits, Part
from tests.agents.engine.answers import ask, persona, user_turn
from tests.deadlines import DEADLINE
from tests.provider import Provider

LIMITS = Limits(seconds=4 * DEADLINE)  # so that only a stop can end an answer within DEADLINE
STOPS = 30
MODELS = ("tokens-500@200", "fault-hang", "fault-hang-after-2", "fault-drip@50", "fault-endless")


def _closed(provider: Provider) -> bool:
    return provider.connections == 0 and all(request.ended for request in provider.requests)


async def _collect(provider: Provider, model: str, parts: list[Part]) -> None:
    spec = persona(provider.base_url, model)
    async with aclosing(answer(spec, [user_turn("Hello?")], limits=LIMITS)) as stream:
        async for part in stream:
            parts.append(part)  # noqa: PERF401 - the list must have the parts that came before a stop


@pytest.mark.parametrize("seed", range(STOPS))
async def test_a_stop_at_any_moment_closes_the_connection(provider: Provider, seed: int) -> None:
    choice = random.Random(seed)
    model = MODELS[seed % len(MODELS)]
    parts: list[Part] = []
    task = asyncio.create_task(_collect(provider, model, parts))
    assert await provider.until(lambda provider: bool(provider.requests))
    await asyncio.sleep(choice.uniform(0, 0.08))

    task.cancel()
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(asyncio.CancelledError):
            await task
    count = len(parts)

    assert await provider.until(_closed)
    assert len(parts) == count


async def test_without_a_stop_the_connection_stays_open(provider: Provider) -> None:
    spec = persona(provider.base_url, "fault-hang-after-2")

    async with aclosing(answer(spec, [user_turn("?")], limits=LIMITS)) as stream:
        await anext(stream)
        still_open = not await provider.until(_closed, seconds=0.5)

    assert still_open
    assert await provider.until(_closed)


async def test_closing_the_generator_stops_the_answer(provider: Provider) -> None:
    stream = answer(persona(provider.base_url, "tokens-500@200"), [user_turn("?")], limits=LIMITS)
    await anext(stream)

    await stream.aclose()

    assert await provider.until(_closed)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_a_stop_during_name_resolution_does_not_wait_for_it(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, release = threading.Event(), threading.Event()

    def slow(*_: object, **__: object) -> list[object]:
        started.set()
        release.wait()
        return []

    monkeypatch.setattr("socket.getaddrinfo", slow)
    task = asyncio.create_task(_collect(provider, "tokens-5", []))
    try:
        assert await asyncio.to_thread(started.wait, DEADLINE)

        task.cancel()
        await asyncio.wait({task}, timeout=DEADLINE)

        assert task.cancelled()
    finally:
        release.set()


async def test_an_answer_above_the_character_limit_closes_the_connection(
    provider: Provider,
) -> None:
    limits = Limits(seconds=DEADLINE, characters=2_000)

    result = await ask(persona(provider.base_url, "fault-endless"), limits=limits)

    assert result.code == "too_long"
    assert len(result.text) == 2_000
    assert await provider.until(_closed)


async def test_three_hundred_answers_leak_no_descriptors_threads_or_tasks(
    provider: Provider,
) -> None:
    spec = persona(provider.base_url, "tokens-5")
    stopped = persona(provider.base_url, "fault-hang-after-2")

    async def answers(number: int) -> None:
        for _ in range(number):
            await ask(spec)
        async with aclosing(answer(stopped, [user_turn("?")], limits=LIMITS)) as stream:
            await anext(stream)

    await answers(20)
    before = await _count_resources(provider)
    for _ in range(10):
        await answers(28)
    after = await _count_resources(provider)

    assert all(now <= then + 2 for now, then in zip(after, before, strict=True))


async def _count_resources(provider: Provider) -> tuple[int, int, int]:
    """Return the numbers of open descriptors, threads and tasks."""
    await provider.until(_closed)
    return _descriptors(), threading.active_count(), len(asyncio.all_tasks())


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
