"""From sending a message to the request at the provider, with one and with many questions at once.

The only token of each answer is the time at which the stub provider sent it, by the monotonic clock
that all processes share. The stub sends it at once, so it is the time of the provider's request.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import uvloop

from tests.bench.report.figures import Figure, of_rounds, percentile
from tests.bench.resources import Resources
from tests.cluster.harness.cluster import Cluster, private_cluster
from tests.cluster.harness.resource_usage import cpu_seconds
from tests.cluster.harness.services import missing_packages
from tests.live import Installation, PopulatedRoom, Socket

MODEL: Final = "stamped-1"
WARM_UP: Final = 10
ALONE: Final = 20
ROUNDS: Final = 3
AT_ONCE: Final = (10, 50, 100)
PAUSE: Final = 0.05
"""Seconds between two questions that are asked alone, in which the previous run ends."""
SECONDS: Final = 120
"""The deadline of a round; only a failure takes this long."""


class Sample(NamedTuple):
    """Milliseconds from sending to the provider's request, and to the response of the server."""

    asked: float
    acknowledged: float


def measure(resources: Resources) -> list[Figure]:
    """Measure the embedded profile, then production with one web process and two workers."""
    alone = "sent to provider asked, alone, embedded"
    figures = [_embedded(resources, alone)]
    if absent := missing_packages():
        note = f"not installed: {', '.join(absent)}"
        return [*figures, Figure("sent to provider asked, production", None, "", note=note)]
    with (
        TemporaryDirectory(prefix="maru-bench-") as folder,
        private_cluster(
            Path(folder) / "cluster", resources.provider_address, webs=1, workers=2
        ) as cluster,
    ):
        rooms = _populate(cluster.webs[0], max(AT_ONCE), resources.provider)
        return [*figures, *uvloop.run(_production(cluster, rooms, resources))]


def _populate(installation: Installation, rooms: int, provider: str) -> list[PopulatedRoom]:
    return installation.populate(rooms, 1, "--provider", provider, "--model", MODEL)


def _embedded(resources: Resources, name: str) -> Figure:
    installation = resources.warm.installation
    rooms = _populate(installation, 1, resources.provider)

    async def rounds() -> list[list[float]]:
        async with AsyncExitStack() as stack:
            (asker,) = await _join(stack, installation, rooms)
            await asker.alone(WARM_UP)
            return [await asker.alone(ALONE) for _ in range(_rounds(resources))]

    return of_rounds(name, uvloop.run(rounds()), "ms", goal=30)


async def _production(
    cluster: Cluster, rooms: Sequence[PopulatedRoom], resources: Resources
) -> list[Figure]:
    figures = []
    async with AsyncExitStack() as stack:
        askers = await _join(stack, cluster.webs[0], rooms)
        for asker in askers:  # each persona's first answer, on both workers
            await asker.ask()
        await _at_once(askers[:50])
        rounds = [await askers[0].alone(ALONE) for _ in range(_rounds(resources))]
        figures.append(
            of_rounds("sent to provider asked, alone, production", rounds, "ms", goal=30)
        )
        for count in AT_ONCE:
            before = _cpu_seconds(cluster)
            samples = [await _at_once(askers[:count]) for _ in range(_rounds(resources))]
            used = _cpu_seconds(cluster) - before
            figures += _figures(count, samples, used / (count * len(samples)))
    return figures


def _figures(count: int, rounds: Sequence[Sequence[Sample]], cpu: float) -> list[Figure]:
    """Return the figures of `count` questions at once; only the largest count has goals."""
    has_goal = count == max(AT_ONCE)

    def figure(name: str, attribute: str, share: float, goal: float) -> Figure:
        found = [percentile([getattr(s, attribute) for s in samples], share) for samples in rounds]
        limit = goal if has_goal else None
        return of_rounds(f"{name}, {count} at once", [[each] for each in found], "ms", goal=limit)

    return [
        figure("sent to provider asked, p50", "asked", 0.50, 1_000),
        figure("sent to provider asked, p99", "asked", 0.99, 2_500),
        figure("sent to acknowledged, p99", "acknowledged", 0.99, 300),
        Figure(
            f"CPU of a question and its answer, {count} at once",
            cpu * 1_000,
            "ms",
            note="of the web process and both workers.",
        ),
    ]


class Asker:
    """A member who asks in one room."""

    def __init__(self, socket: Socket, room: str) -> None:
        self._socket = socket
        self._room = room

    async def ask(self) -> Sample:
        """Ask, and return once the answer is complete."""
        self._socket.frames.clear()
        sent = time.monotonic()
        async with asyncio.timeout(SECONDS):
            await self._socket.say(self._room, "When was this asked?")
            acknowledged = time.monotonic()
            while not (completed := self._socket.of_type("message.completed")):
                await self._socket.receive()
            while not self._socket.of_type("run.completed"):
                await self._socket.receive()
        asked = int(completed[0]["message"]["text"]) / 1e9
        return Sample((asked - sent) * 1000, (acknowledged - sent) * 1000)

    async def alone(self, times: int) -> list[float]:
        """Ask `times` times in turn; return the milliseconds to the provider's request."""
        samples = []
        for _ in range(times):
            samples.append((await self.ask()).asked)
            await asyncio.sleep(PAUSE)
        return samples


async def _at_once(askers: Sequence[Asker]) -> list[Sample]:
    return await asyncio.gather(*(asker.ask() for asker in askers))


async def _join(
    stack: AsyncExitStack, installation: Installation, rooms: Sequence[PopulatedRoom]
) -> list[Asker]:
    askers = []
    for room in rooms:
        socket = await stack.enter_async_context(installation.socket(room.members[0]))
        await socket.join(room.id)
        askers.append(Asker(socket, room.id))
    return askers


def _cpu_seconds(cluster: Cluster) -> float:
    pids = [web.process.pid for web in cluster.webs if web.process is not None]
    return sum(map(cpu_seconds, [*pids, *(worker.pid for worker in cluster.workers)]))


def _rounds(resources: Resources) -> int:
    return 1 if resources.quick else ROUNDS
