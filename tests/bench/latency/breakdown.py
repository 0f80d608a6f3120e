"""Where the time goes between sending a message and the first text of its answer."""

import asyncio
import json
import urllib.request
from statistics import median
from typing import Final

import uvloop

from tests.bench.latency.asking import PAUSE, heard, send
from tests.bench.latency.trace_points import STAGES
from tests.bench.report.figures import Figure
from tests.bench.resources import Stage, Warm, warm
from tests.deadlines import DEADLINE

SENDS: Final = 40


def measure(stage: Stage) -> list[Figure]:
    """Ask the provider's model at a server that notes when a message passes where."""
    installation = stage.installation(
        "breakdown",
        *("-m", "tests.bench.process.instrumented_server", "marks"),
        MARU_EGRESS_ALLOW=stage.provider_address,
    )
    with installation:
        times = uvloop.run(_times(warm(installation, stage.provider)))
    return [
        Figure(f"{number}. {STAGES[name]}", median(samples) * 1000, "ms")
        for number, (name, samples) in enumerate(times.items(), start=1)
        if samples
    ]


async def _times(server: Warm) -> dict[str, list[float]]:
    """Return, for each stage, how long it took in each of the answers."""
    times: dict[str, list[float]] = {name: [] for name in STAGES}
    room = server.provided
    async with server.installation.socket(room.members[0]) as socket:
        await socket.join(room.id)
        for _ in range(SENDS):
            await asyncio.to_thread(_marks, server)
            sent = await send(socket, room.id)
            seen = await heard(socket)
            marks = {**await asyncio.to_thread(_marks, server), "seen": seen}
            earlier = sent
            for name in STAGES:
                if name in marks:
                    times[name].append(marks[name] - earlier)
                    earlier = marks[name]
            await asyncio.sleep(PAUSE)
    return times


def _marks(server: Warm) -> dict[str, float]:
    """Return when each place was passed first, by the clock that all processes share."""
    address = f"{server.installation.url}/bench/marks"
    with urllib.request.urlopen(address, timeout=DEADLINE) as response:
        return dict(reversed(json.load(response)))
