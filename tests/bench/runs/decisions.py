"""From a decision on a tool call to the first text of the answer that goes on, in production.

The stub provider answers at once: its time, about a millisecond, is part of the figures.
"""

import asyncio
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import uvloop

from tests.bench.report.figures import Figure, of_rounds, percentile
from tests.bench.resources import Resources
from tests.cluster.harness import acting, tools_environment
from tests.cluster.harness.cluster import Cluster, private_cluster
from tests.cluster.harness.services import missing_packages
from tests.live import Installation, PopulatedRoom, Socket

WARM_UP: Final = 10
DECISIONS: Final = 40
ROUNDS: Final = 3
QUESTION: Final = 'TEXT I ask first.\nUSE send {"key": "once"}\nTEXT I have sent it.'
NOTE: Final = (
    "one web process, two workers; one decision at a time: the decision is stored, a worker claims "
    "the run, executes a tool that returns at once, and asks the provider again."
)


class Sample(NamedTuple):
    """Milliseconds from sending the decision to its response, and to the first new text."""

    acknowledged: float
    first_text: float


def measure(resources: Resources) -> list[Figure]:
    """Decide on the calls of one room, one after another."""
    if absent := missing_packages():
        note = f"not installed: {', '.join(absent)}"
        return [Figure("decision to first text", None, "", note=note)]
    with TemporaryDirectory(prefix="maru-bench-") as folder:
        counts = Path(folder) / "counts"
        counts.mkdir()
        options: dict[str, Any] = {"webs": 1, "workers": 2, **tools_environment(counts)}
        with private_cluster(
            Path(folder) / "cluster", resources.provider_address, **options
        ) as cluster:
            models = ("--provider", resources.provider, "--model", acting.ASK)
            (room,) = cluster.populate(1, 1, *models)
            acting.install_tools(cluster)
            rounds = uvloop.run(_rounds(cluster, room, 1 if resources.quick else ROUNDS))
    first = [[sample.first_text for sample in samples] for samples in rounds]
    acknowledged = [[sample.acknowledged for sample in samples] for samples in rounds]
    p99 = [[percentile(samples, 0.99)] for samples in first]
    return [
        of_rounds("decision to first text, p50", first, "ms", goal=80, note=NOTE),
        of_rounds("decision to first text, p99", p99, "ms"),
        of_rounds("decision acknowledged, p50", acknowledged, "ms"),
    ]


async def _rounds(cluster: Cluster, room: PopulatedRoom, rounds: int) -> list[list[Sample]]:
    web = cluster.webs[0]
    async with web.socket(room.members[0]) as socket:
        await socket.join(room.id)
        for _ in range(WARM_UP):  # the first answers on both workers
            await _decide(web, socket, room)
        return [[await _decide(web, socket, room) for _ in range(DECISIONS)] for _ in range(rounds)]


async def _decide(web: Installation, socket: Socket, room: PopulatedRoom) -> Sample:
    """Ask, allow the call as soon as its run waits, and return once the answer is complete."""
    socket.frames.clear()
    await socket.say(room.id, QUESTION)
    while not socket.of_type("run.waiting"):
        await socket.receive()
    (asked,) = await asyncio.to_thread(acting.pending, web, room.members[0])
    socket.frames.clear()
    sent = time.monotonic()
    await socket.command(
        "approval.decide",
        approval=asked["id"],
        decision="allow",
        arguments_sha256=asked["arguments_sha256"],
        **{"for": "call"},
    )
    acknowledged = time.monotonic()
    while not socket.of_type("message.delta", "message.completed"):
        await socket.receive()
    first = time.monotonic()
    while not socket.of_type("run.completed"):
        await socket.receive()
    return Sample((acknowledged - sent) * 1000, (first - sent) * 1000)
