"""Many concurrent answers in many rooms stay separate, and commands stay fast."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.bench.report.figures import percentile
from tests.chaos.target import SHORT, Outcome, Target, ask_all
from tests.cluster.harness.recording_client import RecordingClient, RecordingClients

PING_PAUSE = 0.02


async def stream_in_many_rooms(target: Target, *, prompts: int, concurrency: int) -> Outcome:
    """Stream many answers at once; each room must receive its own answers and no others."""
    async with target.clients() as clients, _pings(clients) as waits:
        began = time.monotonic()
        await ask_all(clients, [SHORT], prompts=prompts, concurrency=concurrency)
        seconds = time.monotonic() - began
        outcome = await target.check(clients)
    outcome.figures |= {
        "rooms": len(target.rooms),
        "concurrent answers": concurrency,
        "chunks per second": outcome.figures["chunks of the provider"] / seconds,
        "concurrent ping, p50 (ms)": 1000 * percentile(waits, 0.5),
        "concurrent ping, p99 (ms)": 1000 * percentile(waits, 0.99),
    }
    return outcome


@asynccontextmanager
async def _pings(clients: RecordingClients) -> AsyncIterator[list[float]]:
    """Send pings, which need no database, to each web process; yield the list of their seconds."""
    waits: list[float] = []
    tasks = [
        asyncio.create_task(_ping(client, waits)) for client in clients.by_room[clients.rooms[0]]
    ]
    try:
        yield waits
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _ping(client: RecordingClient, waits: list[float]) -> None:
    while True:
        began = time.monotonic()
        await client.command("ping")
        waits.append(time.monotonic() - began)
        await asyncio.sleep(PING_PAUSE)
