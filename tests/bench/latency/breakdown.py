"""Where the time goes between sending a message and the first delta of its answer."""

import asyncio
import json
import urllib.request
from statistics import median
from typing import Final

import uvloop

from tests.bench.latency.timed_ask import PAUSE, first_delta_time, send
from tests.bench.latency.trace_points import STAGES
from tests.bench.report.figures import Figure
from tests.bench.resources import Resources, WarmServer, warm_up
from tests.deadlines import DEADLINE

SENDS: Final = 40


def measure(resources: Resources) -> list[Figure]:
    """Ask the provider's model on a server that records when a message passes each trace point."""
    installation = resources.installation(
        "breakdown",
        *("-m", "tests.bench.process.instrumented_server", "trace"),
        MARU_EGRESS_ALLOW=resources.provider_address,
    )
    with installation:
        times = uvloop.run(_times(warm_up(installation, resources.provider)))
    return [
        Figure(f"{number}. {STAGES[name]}", median(samples) * 1000, "ms")
        for number, (name, samples) in enumerate(times.items(), start=1)
        if samples
    ]


async def _times(server: WarmServer) -> dict[str, list[float]]:
    """Return the seconds of each stage, one value per answer."""
    times: dict[str, list[float]] = {name: [] for name in STAGES}
    room = server.provided
    async with server.installation.socket(room.members[0]) as socket:
        await socket.join(room.id)
        for _ in range(SENDS):
            await asyncio.to_thread(_read_trace, server)
            sent = await send(socket, room.id)
            seen = await first_delta_time(socket)
            trace = {**await asyncio.to_thread(_read_trace, server), "seen": seen}
            earlier = sent
            for name in STAGES:
                if name in trace:
                    times[name].append(trace[name] - earlier)
                    earlier = trace[name]
            await asyncio.sleep(PAUSE)
    return times


def _read_trace(server: WarmServer) -> dict[str, float]:
    """Return the first time of each trace point, and clear the trace.

    The monotonic clock is the same in all processes of the machine.
    """
    address = f"{server.installation.url}/bench/trace"
    with urllib.request.urlopen(address, timeout=DEADLINE) as response:
        return dict(reversed(json.load(response)))
