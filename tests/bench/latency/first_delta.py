"""From sending a message to the first text of its answer at another member's socket."""

import asyncio
from typing import Final

import uvloop

from tests.bench.latency.asking import PAUSE, heard, send
from tests.bench.report.figures import Figure, of_rounds, percentile
from tests.bench.resources import Stage, Warm
from tests.live import Socket

ROUNDS: Final = 3
SENDS: Final = 18


def measure(stage: Stage) -> list[Figure]:
    """Ask the demo again and again, each time when its last answer has ended."""
    rounds = uvloop.run(_rounds(stage.warm))
    every = [sample for samples in rounds for sample in samples]
    return [
        of_rounds("send to first delta elsewhere, p50", rounds, "ms", goal=60),
        Figure("send to first delta elsewhere, p95", percentile(every, 0.95), "ms"),
    ]


async def _rounds(warm: Warm) -> list[list[float]]:
    server, room = warm.installation, warm.demo
    asker, other = room.members
    async with server.socket(asker) as mine, server.socket(other) as theirs:
        await mine.join(room.id)
        await theirs.join(room.id)
        return [
            [await _first_delta(mine, theirs, room.id) for _ in range(SENDS)] for _ in range(ROUNDS)
        ]


async def _first_delta(mine: Socket, theirs: Socket, room: str) -> float:
    sent = await send(mine, room)
    first, _ = await asyncio.gather(heard(theirs), heard(mine))
    await asyncio.sleep(PAUSE)
    return (first - sent) * 1000
