"""Many answers at once in one process: each hears itself, all of itself, and nobody else."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from uuid import UUID

import pytest
from pytest_django.fixtures import Settings

from agents.engine import warm
from tests.agents.engine.asking import Heard, ask, persona
from tests.provider import Provider, running

RUNS = 50
PIECES = 40


@dataclass(frozen=True)
class Mixing:
    """How many pieces of an answer came from elsewhere, out of order, or not at all."""

    foreign: int
    reordered: int
    missing: int

    @property
    def any(self) -> bool:
        return bool(self.foreign or self.reordered or self.missing)


def mixing(name: str, heard: Heard) -> Mixing:
    """Compare what was heard with what the canary model says to `name`."""
    pieces = heard.text.split()
    own = [piece for piece in pieces if piece.startswith(f"{name}:")]
    numbers = [int(piece.rpartition(":")[2]) for piece in own]
    return Mixing(
        foreign=len(pieces) - len(own),
        reordered=sum(a >= b for a, b in pairwise(numbers)),
        missing=PIECES - len(set(numbers)),
    )


@pytest.fixture(scope="module")
def served() -> Iterator[Provider]:
    with running() as provider:
        yield provider


@pytest.fixture
async def provider(served: Provider, settings: Settings) -> Provider:
    settings.EGRESS_ALLOW = frozenset({served.address})
    served.forget()
    await warm()
    return served


async def _all_at_once(provider: Provider) -> list[Mixing]:
    """Half of the runs share one connection, the others have their own."""
    names = [f"CANARY-{number}-x" for number in range(RUNS)]
    specs = [
        persona(provider.base_url, "canary", connection_id=UUID(int=100 + number % 26))
        for number in range(RUNS)
    ]
    answers = await asyncio.gather(*map(ask, specs, names))
    return list(map(mixing, names, answers))


async def test_fifty_answers_at_once_do_not_mix(provider: Provider) -> None:
    found = await _all_at_once(provider)

    assert not [mixed for mixed in found if mixed.any]


async def test_a_listener_on_everything_would_be_found(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agents.engine import crewai_adapter

    everybody: list[Callable[[object], None]] = []
    own_listening = crewai_adapter.listening

    def tell_everybody(event: object) -> None:
        for hear in everybody:
            hear(event)

    @contextmanager
    def listening_to_all(hear: Callable[[object], None]) -> Iterator[None]:
        everybody.append(hear)
        with own_listening(tell_everybody):
            yield

    monkeypatch.setattr(crewai_adapter, "listening", listening_to_all)

    found = await _all_at_once(provider)

    assert sum(mixed.foreign for mixed in found) > RUNS


async def test_a_lost_and_a_swapped_piece_would_be_found() -> None:
    pieces = [f"CANARY-a:{number} " for number in range(PIECES)]
    lost = Heard(pieces=[*pieces[:3], *pieces[4:]])
    swapped = Heard(pieces=[*pieces[:3], pieces[4], pieces[3], *pieces[5:]])

    assert mixing("CANARY-a", lost) == Mixing(foreign=0, reordered=0, missing=1)
    assert mixing("CANARY-a", swapped) == Mixing(foreign=0, reordered=1, missing=0)
