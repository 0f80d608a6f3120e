"""A web process is killed between the commit of a message and its publication."""

import asyncio
import random
import signal
import time

from tests.bench.report.figures import percentile
from tests.chaos.target import Outcome, Target, poll
from tests.cluster.harness.recording_client import RecordingClient

CONCURRENT_MESSAGES = 8
"""Messages in flight in a room when its web process is killed."""


async def crash_webs(target: Target, *, crashes: int) -> Outcome:
    """Kill the web process that receives messages; clients of the other one get all stored ones.

    In every second crash Redis is down from before the commit until the other clients have caught
    up, so that no message of that crash can have been published.
    """
    waits: list[float] = []
    unpublished = 0
    async with target.clients() as clients:
        for number in range(crashes):
            sender, receiver = clients.by_room[clients.rooms[number % len(clients.rooms)]]
            if number % 2:
                await asyncio.to_thread(target.cluster.redis.stop, signal.SIGKILL)
            sending = [
                asyncio.create_task(sender.send_message("Is this stored?"))
                for _ in range(CONCURRENT_MESSAGES)
            ]
            await _until_committed(target, sender)
            await asyncio.sleep(random.uniform(0, 0.05))
            await asyncio.to_thread(sender.web.stop, signal.SIGKILL)
            missing, seconds = await _until_caught_up(target, receiver)
            unpublished += missing
            waits.append(seconds)
            if number % 2:
                await asyncio.to_thread(target.cluster.redis.start)
            await asyncio.to_thread(sender.web.start)
            await asyncio.gather(*sending)
        outcome = await target.check(clients)
    outcome.figures |= {
        "crashes": crashes,
        "stored but not received elsewhere at the crash": unpublished,
        "crash to received elsewhere, p50 (s)": percentile(waits, 0.5),
        "crash to received elsewhere, longest (s)": max(waits),
    }
    return outcome


async def _until_committed(target: Target, sender: RecordingClient) -> None:
    """Return when the stored log is longer than what the sender has received."""
    received = sender.timeline.seq or 0
    await poll(lambda: _last_seq(target, sender.room) > received)


async def _until_caught_up(target: Target, receiver: RecordingClient) -> tuple[int, float]:
    """Wait until the receiver has every stored event; return how many were missing, and seconds."""
    began = time.monotonic()
    stored = await asyncio.to_thread(_last_seq, target, receiver.room)
    missing = stored - (receiver.timeline.seq or 0)
    await receiver.until_seq(stored)
    return max(missing, 0), time.monotonic() - began


def _last_seq(target: Target, room: str) -> int:
    with target.cluster.postgres.connect() as connection:
        found = connection.execute("SELECT last_seq FROM rooms_room WHERE id = %s", [room])
        row = found.fetchone()
    assert row is not None
    return int(row[0])
