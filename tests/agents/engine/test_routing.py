"""Concurrent answers in one process do not mix."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from uuid import UUID

import pytest

from tests.agents.engine.answers import CollectedAnswer, ask, persona
from tests.provider import Provider

RUNS = 50
WORDS = 40


@dataclass(frozen=True)
class Mixing:
    """How many words of an answer are from another answer, out of order, or missing."""

    foreign: int
    reordered: int
    missing: int

    @property
    def any(self) -> bool:
        return bool(self.foreign or self.reordered or self.missing)


def mixing(name: str, result: CollectedAnswer) -> Mixing:
    """Compare the answer with what the model `canary` answers to `name`."""
    words = result.text.split()
    own = [word for word in words if word.startswith(f"{name}:")]
    numbers = [int(word.rpartition(":")[2]) for word in own]
    return Mixing(
        foreign=len(words) - len(own),
        reordered=sum(a >= b for a, b in pairwise(numbers)),
        missing=WORDS - len(set(numbers)),
    )


async def _ask_concurrently(provider: Provider) -> list[Mixing]:
    """Ask RUNS times at once over 26 connections: about half of the runs share a connection."""
    names = [f"CANARY-{number}-x" for number in range(RUNS)]
    specs = [
        persona(provider.base_url, "canary", connection_id=UUID(int=100 + number % 26))
        for number in range(RUNS)
    ]
    answers = await asyncio.gather(*map(ask, specs, names))
    return list(map(mixing, names, answers))


async def test_fifty_concurrent_answers_do_not_mix(provider: Provider) -> None:
    found = await _ask_concurrently(provider)

    assert not [mixed for mixed in found if mixed.any]


async def test_the_comparison_finds_events_sent_to_every_handler(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agents.engine import crewai_adapter

    handlers: list[Callable[[object], None]] = []
    original_sink = crewai_adapter.stream_sink

    def call_all(event: object) -> None:
        for handler in handlers:
            handler(event)

    @contextmanager
    def shared_sink(handler: Callable[[object], None]) -> Iterator[None]:
        handlers.append(handler)
        with original_sink(call_all):
            yield

    monkeypatch.setattr(crewai_adapter, "stream_sink", shared_sink)

    found = await _ask_concurrently(provider)

    assert sum(mixed.foreign for mixed in found) > RUNS


async def test_the_comparison_finds_a_lost_and_a_swapped_word() -> None:
    words = [f"CANARY-a:{number} " for number in range(WORDS)]
    lost = CollectedAnswer(texts=[*words[:3], *words[4:]])
    swapped = CollectedAnswer(texts=[*words[:3], words[4], words[3], *words[5:]])

    assert mixing("CANARY-a", lost) == Mixing(foreign=0, reordered=0, missing=1)
    assert mixing("CANARY-a", swapped) == Mixing(foreign=0, reordered=1, missing=0)
