"""Stopping: nothing is heard afterwards, the provider's connection is closed, nothing piles up."""

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from time import monotonic

import pytest
from pytest_django.fixtures import Settings

from agents.engine import answer, warm
from agents.engine_types import Limits, Part
from tests.agents.engine.asking import ask, persona, said
from tests.provider import Provider, running

LIMITS = Limits(seconds=60)
STOPS = 30
MODELS = ("tokens-500@200", "fault-hang", "fault-hang-after-2", "fault-drip@50", "fault-endless")


@pytest.fixture(scope="module")
def served() -> Iterator[Provider]:
    with running() as provider:
        yield provider


@pytest.fixture
async def provider(served: Provider, settings: Settings) -> Provider:
    settings.EGRESS_ALLOW = frozenset({served.address})
    assert await served.until(lambda provider: provider.connections == 0)
    served.forget()
    await warm()
    return served


def _gone(provider: Provider) -> bool:
    return provider.connections == 0 and all(request.ended for request in provider.requests)


async def _listen(provider: Provider, model: str, heard: list[Part]) -> None:
    spec = persona(provider.base_url, model)
    async with aclosing(answer(spec, [said("Hello?")], limits=LIMITS)) as parts:
        async for part in parts:
            heard.append(part)  # noqa: PERF401 - one by one is the point


@pytest.mark.parametrize("seed", range(STOPS))
async def test_a_stop_at_any_moment_closes_the_connection(provider: Provider, seed: int) -> None:
    choice = random.Random(seed)
    model = MODELS[seed % len(MODELS)]
    heard: list[Part] = []
    task = asyncio.create_task(_listen(provider, model, heard))
    assert await provider.until(lambda provider: bool(provider.requests))
    await asyncio.sleep(choice.uniform(0, 0.08))

    began = monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stopped_after, known = monotonic() - began, len(heard)

    assert await provider.until(_gone, seconds=1)
    assert stopped_after < 1
    assert len(heard) == known


async def test_without_a_stop_the_connection_stays_open(provider: Provider) -> None:
    spec = persona(provider.base_url, "fault-hang-after-2")

    async with aclosing(answer(spec, [said("?")], limits=LIMITS)) as parts:
        await anext(parts)
        still_open = not await provider.until(_gone, seconds=0.5)

    assert still_open
    assert await provider.until(_gone, seconds=1)


async def test_closing_the_generator_stops_as_well(provider: Provider) -> None:
    parts = answer(persona(provider.base_url, "tokens-500@200"), [said("?")], limits=LIMITS)
    await anext(parts)

    await parts.aclose()

    assert await provider.until(_gone, seconds=1)
    with pytest.raises(StopAsyncIteration):
        await anext(parts)


async def test_a_stop_while_the_host_is_looked_up_does_not_wait_for_it(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, release = threading.Event(), threading.Event()

    def slow(*_: object, **__: object) -> list[object]:
        asked.set()
        release.wait(10)
        return []

    monkeypatch.setattr("socket.getaddrinfo", slow)
    task = asyncio.create_task(_listen(provider, "tokens-5", []))
    await asyncio.to_thread(asked.wait, 5)

    began = monotonic()
    task.cancel()
    await asyncio.wait({task})

    assert monotonic() - began < 1
    release.set()


async def test_an_answer_that_grew_too_long_closes_the_connection(provider: Provider) -> None:
    heard = await ask(
        persona(provider.base_url, "fault-endless"), limits=Limits(seconds=20, characters=2_000)
    )

    assert heard.code == "too_long"
    assert len(heard.text) == 2_000
    assert await provider.until(_gone, seconds=1)


async def test_three_hundred_answers_leave_nothing_behind(provider: Provider) -> None:
    spec = persona(provider.base_url, "tokens-5")
    stopped = persona(provider.base_url, "fault-hang-after-2")

    async def some(number: int) -> None:
        for _ in range(number):
            await ask(spec)
        async with aclosing(answer(stopped, [said("?")], limits=LIMITS)) as parts:
            await anext(parts)

    await some(20)
    before = await _left_behind(provider)
    for _ in range(10):
        await some(28)
    after = await _left_behind(provider)

    assert all(now <= then + 2 for now, then in zip(after, before, strict=True))


async def _left_behind(provider: Provider) -> tuple[int, int, int]:
    """Count what could pile up: descriptors, threads, tasks."""
    await provider.until(_gone)
    return _descriptors(), threading.active_count(), len(asyncio.all_tasks())


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
