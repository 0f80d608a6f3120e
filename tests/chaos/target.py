"""What the faults are injected into: a cluster, the stub provider, and rooms with clients."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count

from tests.cluster.harness import oracle, stored_state
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.recording_client import (
    RecordingClient,
    RecordingClients,
    gather_or_cancel,
    recording_clients,
)
from tests.cluster.harness.stored_state import StoredState
from tests.deadlines import DEADLINE
from tests.live import PopulatedRoom
from tests.provider import Provider

QUICK, SHORT, LONG, SLOW = "canary@400", "canary@20", "canary@5", "canary@1"
"""Models that answer with the same forty tokens in 0.1 s, 2 s, 8 s and 40 s."""

HELD = "canary-held@20"
"""The same answer; it pauses after ten tokens until the provider is released."""

MODELS = (QUICK, SHORT, LONG, SLOW, HELD)

POLL_SECONDS = 0.02
_numbers = count(1)


@dataclass
class Outcome:
    """The figures of a part, and the violations, of which there must be none."""

    figures: dict[str, float] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class AskedRun:
    """A run whose message was acknowledged to this client."""

    run: str
    client: RecordingClient

    async def until_streaming(self) -> None:
        """Return when the client has received two tokens."""
        await self.client.until(lambda: self.client.tokens[self.run] > 1)

    async def until_ended(self) -> None:
        await self.client.until_ended(self.run)


@dataclass
class Target:
    """A cluster that recovers from each fault, and the rooms of one part in it."""

    cluster: Cluster
    provider: Provider
    size: int = 4
    models: Sequence[str] = MODELS

    def __post_init__(self) -> None:
        stored_state.record_transitions(self.cluster.postgres)

    @cached_property
    def rooms(self) -> list[PopulatedRoom]:
        """`size` rooms with one persona per model; a persona answers with the question's canary.

        The `models` of the part may answer otherwise.
        """
        models = [word for model in self.models for word in ("--model", model)]
        return self.cluster.populate(self.size, 2, "--provider", self.provider.base_url, *models)

    @asynccontextmanager
    async def clients(self) -> AsyncIterator[RecordingClients]:
        """Connect a member of each room to each web process."""
        async with recording_clients(self.cluster.webs, self.rooms) as clients:
            yield clients

    def read_state(self) -> StoredState:
        """Return the stored state of the rooms. Blocking."""
        return stored_state.read_state(self.cluster.postgres, [room.id for room in self.rooms])

    async def check(self, clients: RecordingClients, *, deltas_kept: bool = True) -> Outcome:
        """Compare the stored state and everything that the clients received with the oracle.

        `deltas_kept` is False if Redis was unavailable: then deltas may be missing, and the text
        comes with the final event.
        """
        stored = await asyncio.to_thread(self.read_state)
        violations = oracle.violations(stored)
        for client in clients.all:
            log = stored.logs[client.room]
            await client.until_seq(log[-1][0])
            wrong = [
                *client.violations,
                *oracle.log_differences(client.events, client.since, log),
            ]
            if deltas_kept:
                wrong += oracle.assembly_errors(client.timeline.ended)
            violations += [f"port {client.web.port}, room {client.room}: {what}" for what in wrong]
        figures = _figures(stored, clients)
        # The provider was cleared when the target was created, so these are its requests.
        figures["chunks of the provider"] = sum(r.chunks for r in self.provider.requests)
        return Outcome(figures, violations)


def _figures(stored: StoredState, clients: RecordingClients) -> dict[str, float]:
    return {
        "runs": len(stored.runs),
        "completed": sum(run.state == "completed" for run in stored.runs),
        "failed": sum(run.state == "failed" for run in stored.runs),
        "cancelled": sum(run.state == "cancelled" for run in stored.runs),
        "taken over": sum(run.attempt > 1 for run in stored.runs),
        "messages": len(stored.messages),
        "deltas received": sum(client.deltas for client in clients.all),
        "answers compared": sum(
            ended.received_to_the_end
            for client in clients.all
            for ended in client.timeline.ended.values()
        ),
    }


async def ask(client: RecordingClient, model: str) -> AskedRun:
    """Send a question with a new canary to the persona of this model."""
    text = f"Say {oracle.canary(client.room, next(_numbers))}"
    result = await client.send_message(text, model=model)
    (run,) = result["runs"]
    return AskedRun(run, client)


async def ask_all(
    clients: RecordingClients, models: Sequence[str], *, prompts: int, concurrency: int
) -> list[AskedRun]:
    """Ask in all rooms in turn with at most `concurrency` open runs; return when all have ended."""
    slots = asyncio.Semaphore(concurrency)

    async def ask_one(number: int) -> AskedRun:
        async with slots:
            room = clients.rooms[number % len(clients.rooms)]
            asked = await ask(clients.any_in(room), models[number % len(models)])
            await asked.until_ended()
            return asked

    return await gather_or_cancel(ask_one(number) for number in range(prompts))


async def poll(condition: Callable[[], bool], seconds: float = DEADLINE) -> float:
    """Evaluate a blocking condition in a thread until it is true; return the seconds it took."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - no event announces it
            await asyncio.sleep(POLL_SECONDS)
    return time.monotonic() - began
