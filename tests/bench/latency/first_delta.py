"""Time from sending a message to the first delta of its answer at another member's socket."""

import asyncio
from typing import Final

import uvloop

from tests.bench.latency.timed_ask import PAUSE, first_delta_time, send
from tests.bench.report.figures import Figure, of_rounds, percentile
from tests.bench.resources import Resources, WarmServer
from tests.live import Socket

ROUNDS: Final = 3
SENDS: Final = 18


def measure(resources: Resources) -> list[Figure]:
    """Ask the demo persona repeatedly, each time after its previous answer has ended."""
    rounds = uvloop.run(_rounds(resources.warm))
    all_samples = [sample for samples in rounds for sample in samples]
    return [
        of_rounds("send to first delta elsewhere, p50", rounds, "ms", goal=60),
        Figure("send to first delta elsewhere, p95", percentile(all_samples, 0.95), "ms"),
    ]


async def _rounds(warm: WarmServer) -> list[list[float]]:
    server, room = warm.installation, warm.demo
    first, second = room.members
    async with server.socket(first) as asker, server.socket(second) as other:
        await asker.join(room.id)
        await other.join(room.id)
        return [
            [await _milliseconds(asker, other, room.id) for _ in range(SENDS)]
            for _ in range(ROUNDS)
        ]


async def _milliseconds(asker: Socket, other: Socket, room: str) -> float:
    sent = await send(asker, room)
    first, _ = await asyncio.gather(first_delta_time(other), first_delta_time(asker))
    await asyncio.sleep(PAUSE)
    return (first - sent) * 1000
