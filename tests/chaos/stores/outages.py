"""PostgreSQL and Redis fail in different ways and recover."""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tests.bench.report.figures import percentile
from tests.chaos.target import QUICK, SHORT, Outcome, Target, ask
from tests.cluster.harness import oracle
from tests.cluster.harness.recording_client import (
    RecordingClient,
    RecordingClients,
    gather_or_cancel,
)

LIVE_SECONDS = 60
"""Deadline for live streaming after a recovery. The goal in the report is much lower."""


@dataclass
class Senders:
    """Every client sends one message after the other and waits for each acknowledgement."""

    clients: RecordingClients
    pause: float
    acknowledged: set[tuple[str, str, int]] = field(default_factory=set)
    longest: float = 0.0
    stopped: bool = False

    async def send(self, client: RecordingClient) -> None:
        """Send until `stopped` is set; then every message of this client is acknowledged."""
        while not self.stopped:
            began = time.monotonic()
            result = await client.send_message("A message to be stored.")
            self.longest = max(self.longest, time.monotonic() - began)
            self.acknowledged.add((client.room, result["message"], result["seq"]))
            await asyncio.sleep(random.uniform(0, 2 * self.pause))


Fault = Callable[[Target], Awaitable[None]]


async def inject_outages(
    target: Target, faults: Sequence[Fault], *, answers: int, pause: float
) -> Outcome:
    """Inject each fault in turn while all clients send messages and personas answer."""
    recoveries = []
    async with target.clients() as clients:
        senders = Senders(clients, pause)
        sending = [asyncio.create_task(senders.send(client)) for client in clients.all]
        began = time.monotonic()
        for inject in faults:
            asked = [
                await ask(clients.any_in(clients.rooms[number % len(clients.rooms)]), SHORT)
                for number in range(answers)
            ]
            await inject(target)
            recoveries.append(await _seconds_until_live(clients))
            await gather_or_cancel(one.until_ended() for one in asked)
        seconds = time.monotonic() - began
        senders.stopped = True
        await asyncio.gather(*sending)
        outcome = await target.check(clients, deltas_kept=False)
    outcome.violations += oracle.missing_messages(senders.acknowledged, target.read_state())
    outcome.figures |= {
        "faults": len(faults),
        "messages acknowledged": len(senders.acknowledged),
        "messages per second": len(senders.acknowledged) / seconds,
        "refused and sent again": sum(client.refusals for client in clients.all),
        "longest acknowledgement (s)": senders.longest,
        "recovery to live streaming, longest (s)": max(recoveries),
        "recovery to live streaming, p50 (s)": percentile(recoveries, 0.5),
    }
    return outcome


async def _seconds_until_live(clients: RecordingClients) -> float:
    """Return the seconds until an answer streams completely on every web process."""
    began = time.monotonic()
    async with asyncio.timeout(LIVE_SECONDS):
        while not await _streams_live(clients.by_room[random.choice(clients.rooms)]):
            pass
    return time.monotonic() - began


async def _streams_live(clients: list[RecordingClient]) -> bool:
    """Return True if every client received the whole text of a new answer as deltas."""
    asked = await ask(clients[0], QUICK)
    with suppress(TimeoutError):
        for client in clients:
            await client.until_ended(asked.run, LIVE_SECONDS / 4)
    received = [client.timeline.ended.get(asked.run) for client in clients]
    return all(
        one is not None and one.received_to_the_end and one.assembled.rstrip() == one.stored
        for one in received
    )


async def _last(seconds: float) -> None:
    """Keep the fault active; its duration is part of the scenario."""
    await asyncio.sleep(seconds)


def restart_postgres(signal_number: signal.Signals) -> Fault:
    """Stop PostgreSQL by SIGINT (fast shutdown) or SIGQUIT (like a crash), and start it again."""

    async def inject(target: Target) -> None:
        await asyncio.to_thread(target.cluster.postgres.restart, signal_number)

    return inject


def end_connections(times: int) -> Fault:
    """End one random connection of Maru each second."""

    async def inject(target: Target) -> None:
        for _ in range(times):
            await asyncio.to_thread(_end_random_connection, target)
            await _last(1)

    return inject


def _end_random_connection(target: Target) -> None:
    with target.cluster.postgres.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "ORDER BY random() LIMIT 1"
        )


def kill_redis(seconds: float) -> Fault:
    """Kill Redis, which loses its data, and start it again after some seconds."""

    async def inject(target: Target) -> None:
        await asyncio.to_thread(target.cluster.redis.stop, signal.SIGKILL)
        await _last(seconds)
        await asyncio.to_thread(target.cluster.redis.start)

    return inject


async def flush_redis(target: Target) -> None:
    """Delete all data of Redis with FLUSHALL."""
    with target.cluster.redis.connect() as connection:
        connection.flushall()


def pause_redis(seconds: float) -> Fault:
    """Stop Redis from answering for some seconds with CLIENT PAUSE."""

    async def inject(target: Target) -> None:
        with target.cluster.redis.connect() as connection:
            connection.client_pause(int(seconds * 1000))
        await _last(seconds)

    return inject


def freeze_redis(seconds: float) -> Fault:
    """Suspend the Redis process for some seconds; its connections stay open."""

    async def inject(target: Target) -> None:
        target.cluster.redis.freeze()
        try:
            await _last(seconds)
        finally:
            target.cluster.redis.thaw()

    return inject
