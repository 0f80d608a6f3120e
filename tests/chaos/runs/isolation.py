"""Many answers at once in many rooms, and loops that stay free: TEN-16, RUN-17."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.bench.report.figures import percentile
from tests.chaos.target import SOON, Outcome, Stage, ask_all
from tests.cluster.harness.recording_client import Audience, Witness

PROBE_SECONDS = 0.02


async def mix_canaries(stage: Stage, *, prompts: int, at_once: int) -> Outcome:
    """Have many answers said at once; each room hears its own and nothing else."""
    async with stage.audience() as gathered, _probed(gathered) as waits:
        began = time.monotonic()
        await ask_all(gathered, [SOON], prompts=prompts, at_once=at_once)
        seconds = time.monotonic() - began
        outcome = await stage.verdict(gathered)
    outcome.figures |= {
        "rooms": len(stage.rooms),
        "answers at once": at_once,
        "chunks a second": outcome.figures["chunks of the provider"] / seconds,
        "a command meanwhile, p50 (ms)": 1000 * percentile(waits, 0.5),
        "a command meanwhile, p99 (ms)": 1000 * percentile(waits, 0.99),
    }
    return outcome


@asynccontextmanager
async def _probed(gathered: Audience) -> AsyncIterator[list[float]]:
    """Give commands that need no database, by every web process, and note how long each took."""
    waits: list[float] = []
    probes = [
        asyncio.create_task(_probe(witness, waits))
        for witness in gathered.witnesses[gathered.rooms[0]]
    ]
    try:
        yield waits
    finally:
        for probe in probes:
            probe.cancel()
        await asyncio.gather(*probes, return_exceptions=True)


async def _probe(witness: Witness, waits: list[float]) -> None:
    while True:
        began = time.monotonic()
        await witness.command("ping")
        waits.append(time.monotonic() - began)
        await asyncio.sleep(PROBE_SECONDS)
