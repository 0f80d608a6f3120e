"""What a fault is let loose on: a cluster, the provider, rooms full of witnesses, and a verdict."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count

from tests.cluster.harness import oracle
from tests.cluster.harness import stored_state as book
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.recording_client import Audience, Witness, audience, together
from tests.cluster.harness.stored_state import Book
from tests.deadlines import DEADLINE
from tests.live import PopulatedRoom
from tests.provider import Provider

QUICK, SOON, LONG, SLOW = "canary@400", "canary@20", "canary@5", "canary@1"
"""Answers of the same forty words within a tenth of a second, two seconds, eight, and forty."""

HELD = "canary-held@20"
"""The same, which begins and goes on, for two seconds, when the provider is told to release it."""

MODELS = (QUICK, SOON, LONG, SLOW, HELD)

LOOK_SECONDS = 0.02
_numbers = count(1)


@dataclass
class Outcome:
    """What was seen: figures for whoever reads, and complaints, of which there may be none."""

    figures: dict[str, float] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Asked:
    """A question that was acknowledged."""

    run: str
    witness: Witness

    async def begun(self) -> None:
        """Return once more than its first words were heard."""
        await self.witness.until(lambda: self.witness.shown[self.run] > 1)

    async def ended(self) -> None:
        """Return once its end was heard."""
        await self.witness.ended(self.run)


@dataclass
class Stage:
    """A cluster that may be broken in every way, and comes back."""

    cluster: Cluster
    provider: Provider
    size: int = 4

    def __post_init__(self) -> None:
        book.watch(self.cluster.postgres)

    @cached_property
    def rooms(self) -> list[PopulatedRoom]:
        """Rooms whose personas answer with the canary of the question, at several speeds."""
        models = [word for model in MODELS for word in ("--model", model)]
        return self.cluster.populate(self.size, 2, "--provider", self.provider.base_url, *models)

    @asynccontextmanager
    async def audience(self) -> AsyncIterator[Audience]:
        """Have a member of each room listen on each web process."""
        async with audience(self.cluster.webs, self.rooms) as gathered:
            yield gathered

    def read(self) -> Book:
        """Return what the database has of the rooms."""
        return book.read(self.cluster.postgres, [room.id for room in self.rooms])

    async def verdict(self, gathered: Audience, *, deltas_kept: bool = True) -> Outcome:
        """Judge all that the rooms keep, and all that was heard of it.

        `deltas_kept` is False where Redis was away: then text may have come at its end only.
        """
        kept = await asyncio.to_thread(self.read)
        complaints = oracle.complaints(kept)
        for witness in gathered.everybody:
            log = kept.logs[witness.room]
            await witness.caught_up(log[-1][0])
            wrong = [*witness.complaints, *oracle.unlike_log(witness.heard, witness.since, log)]
            if deltas_kept:
                wrong += oracle.misassembled(witness.timeline.ended)
            complaints += [f"{witness.web.port} in {witness.room}: {what}" for what in wrong]
        figures = _figures(kept, gathered)
        figures["chunks of the provider"] = self._chunks
        return Outcome(figures, complaints)

    @property
    def _chunks(self) -> int:
        """How many were sent since the stage was built; one in a foreign room is a complaint."""
        return sum(request.chunks for request in self.provider.requests)


def _figures(kept: Book, gathered: Audience) -> dict[str, float]:
    return {
        "runs": len(kept.runs),
        "completed": sum(run.state == "completed" for run in kept.runs),
        "failed": sum(run.state == "failed" for run in kept.runs),
        "cancelled": sum(run.state == "cancelled" for run in kept.runs),
        "taken over": sum(run.attempt > 1 for run in kept.runs),
        "messages": len(kept.messages),
        "deltas heard": sum(witness.deltas for witness in gathered.everybody),
        "answers compared": sum(
            one.heard_to_the_end for w in gathered.everybody for one in w.timeline.ended.values()
        ),
    }


async def ask(witness: Witness, model: str) -> Asked:
    """Ask a question with a canary of its own."""
    text = f"Say {oracle.canary(witness.room, next(_numbers))}"
    result = await witness.say(text, model=model)
    (run,) = result["runs"]
    return Asked(run, witness)


async def ask_all(
    gathered: Audience, models: Sequence[str], *, prompts: int, at_once: int
) -> list[Asked]:
    """Ask in all rooms in turn, at most so many unanswered at once; return when all have ended."""
    places = asyncio.Semaphore(at_once)

    async def one(number: int) -> Asked:
        async with places:
            room = gathered.rooms[number % len(gathered.rooms)]
            asked = await ask(gathered.anybody(room), models[number % len(models)])
            await asked.ended()
            return asked

    return await together(one(number) for number in range(prompts))


async def eventually(happened: Callable[[], bool], seconds: float = DEADLINE) -> float:
    """Ask something that blocks, again and again, until it is so; return how long that took."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(happened):  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(LOOK_SECONDS)
    return time.monotonic() - began
