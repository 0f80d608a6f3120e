"""Web processes that end between a commit and the word of it: STO-08."""

import asyncio
import random
import signal
import time

from tests.bench.report.figures import percentile
from tests.chaos.target import Outcome, Stage, eventually
from tests.cluster.harness.recording_client import Witness

SAYING = 8
"""So many messages are on their way in a room when the process is ended."""


async def crash_webs(stage: Stage, *, crashes: int) -> Outcome:
    """Kill the web process that messages go to; members on the other one hear what was kept.

    Every other time Redis is away meanwhile, and back when the process is: what was kept was
    announced to nobody then, for certain.
    """
    waits: list[float] = []
    unheard = 0
    async with stage.audience() as gathered:
        for number in range(crashes):
            sender, listener = gathered.witnesses[gathered.rooms[number % len(gathered.rooms)]]
            if number % 2:
                await asyncio.to_thread(stage.cluster.redis.stop, signal.SIGKILL)
            saying = [asyncio.create_task(sender.say("Is this kept?")) for _ in range(SAYING)]
            await _committed(stage, sender)
            await asyncio.sleep(random.uniform(0, 0.05))
            await asyncio.to_thread(sender.web.stop, signal.SIGKILL)
            missing, wait = await _hear_of_all(stage, listener)
            unheard += missing
            waits.append(wait)
            if number % 2:
                await asyncio.to_thread(stage.cluster.redis.start)
            await asyncio.to_thread(sender.web.start)
            await asyncio.gather(*saying)
        outcome = await stage.verdict(gathered)
    outcome.figures |= {
        "crashes": crashes,
        "kept, and not heard elsewhere at the crash": unheard,
        "crash to heard elsewhere, p50 (s)": percentile(waits, 0.5),
        "crash to heard elsewhere, longest (s)": max(waits),
    }
    return outcome


async def _committed(stage: Stage, sender: Witness) -> None:
    """Return once the log has moved on from what the sender has heard."""
    heard = sender.timeline.seq or 0
    await eventually(lambda: _last_seq(stage, sender.room) > heard)


async def _hear_of_all(stage: Stage, listener: Witness) -> tuple[int, float]:
    """Wait until all that is kept was heard; return how much was not, and how long it took."""
    began = time.monotonic()
    kept = await asyncio.to_thread(_last_seq, stage, listener.room)
    missing = kept - (listener.timeline.seq or 0)
    await listener.caught_up(kept)
    return max(missing, 0), time.monotonic() - began


def _last_seq(stage: Stage, room: str) -> int:
    with stage.cluster.postgres.connect() as connection:
        found = connection.execute("SELECT last_seq FROM rooms_room WHERE id = %s", [room])
        row = found.fetchone()
    assert row is not None
    return int(row[0])
