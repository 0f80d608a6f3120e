"""PostgreSQL and Redis go away in every way and come back: STO-02, STO-03, STO-04."""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tests.bench.report.figures import percentile
from tests.chaos.target import QUICK, SOON, Outcome, Stage, ask
from tests.cluster.harness import oracle
from tests.cluster.harness.recording_client import Audience, Witness, together

LIVE_SECONDS = 60
"""How long we wait for an answer to be heard live again; the goal is a figure of its own."""


@dataclass
class Pouring:
    """Everybody says one thing after the other, each until it is acknowledged."""

    gathered: Audience
    pause: float
    acknowledged: set[tuple[str, str, int]] = field(default_factory=set)
    longest: float = 0.0
    over: bool = False

    async def pour(self, witness: Witness) -> None:
        """Talk until it is over; nothing is on its way then that would be kept later."""
        while not self.over:
            began = time.monotonic()
            said = await witness.say("Something to be kept.")
            self.longest = max(self.longest, time.monotonic() - began)
            self.acknowledged.add((witness.room, said["message"], said["seq"]))
            await asyncio.sleep(random.uniform(0, 2 * self.pause))


Break = Callable[[Stage], Awaitable[None]]


async def break_store(
    stage: Stage, breaks: Sequence[Break], *, answers: int, pause: float
) -> Outcome:
    """While everybody talks and personas answer, break a store in each of these ways in turn."""
    backs = []
    async with stage.audience() as gathered:
        pouring = Pouring(gathered, pause)
        talking = [asyncio.create_task(pouring.pour(w)) for w in gathered.everybody]
        began = time.monotonic()
        for break_it in breaks:
            asked = [
                await ask(gathered.anybody(gathered.rooms[number % len(gathered.rooms)]), SOON)
                for number in range(answers)
            ]
            await break_it(stage)
            backs.append(await _live_again(gathered))
            await together(one.ended() for one in asked)
        seconds = time.monotonic() - began
        pouring.over = True
        await asyncio.gather(*talking)
        outcome = await stage.verdict(gathered, deltas_kept=False)
    outcome.complaints += oracle.lost(pouring.acknowledged, stage.read())
    refused = sum(witness.refusals for witness in gathered.everybody)
    outcome.figures |= {
        "breaks": len(breaks),
        "messages acknowledged": len(pouring.acknowledged),
        "messages a second": len(pouring.acknowledged) / seconds,
        "refused, and sent again": refused,
        "longest until acknowledged (s)": pouring.longest,
        "live again, longest (s)": max(backs),
        "live again, p50 (s)": percentile(backs, 0.5),
    }
    return outcome


async def _live_again(gathered: Audience) -> float:
    """Return after how long an answer is heard to its end, as it is said, on every web process."""
    began = time.monotonic()
    async with asyncio.timeout(LIVE_SECONDS):
        while not await _is_live(gathered.witnesses[random.choice(gathered.rooms)]):
            pass
    return time.monotonic() - began


async def _is_live(witnesses: list[Witness]) -> bool:
    """Ask for a quick answer; whether all have heard its text from deltas, and not at its end."""
    asked = await ask(witnesses[0], QUICK)
    with suppress(TimeoutError):
        for one in witnesses:
            await one.ended(asked.run, LIVE_SECONDS / 4)
    heard = [one.timeline.ended.get(asked.run) for one in witnesses]
    return all(
        one is not None and one.heard_to_the_end and one.assembled.rstrip() == one.stored
        for one in heard
    )


async def _wait(seconds: float) -> None:
    """Let a fault last: how long is part of it."""
    await asyncio.sleep(seconds)


def restart_postgres(how: signal.Signals) -> Break:
    """End it by SIGINT (fast) or SIGQUIT (as a crash would) and start it again."""

    async def break_it(stage: Stage) -> None:
        await asyncio.to_thread(stage.cluster.postgres.restart, how)

    return break_it


def end_connections(times: int) -> Break:
    """End one connection of Maru at random, each second."""

    async def break_it(stage: Stage) -> None:
        for _ in range(times):
            await asyncio.to_thread(_end_one_connection, stage)
            await _wait(1)

    return break_it


def _end_one_connection(stage: Stage) -> None:
    with stage.cluster.postgres.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "ORDER BY random() LIMIT 1"
        )


def kill_redis(seconds: float) -> Break:
    """End it without warning, with all that it held; it is back, empty, after a while."""

    async def break_it(stage: Stage) -> None:
        await asyncio.to_thread(stage.cluster.redis.stop, signal.SIGKILL)
        await _wait(seconds)
        await asyncio.to_thread(stage.cluster.redis.start)

    return break_it


async def flush_redis(stage: Stage) -> None:
    """Have it forget all that it holds."""
    with stage.cluster.redis.connect() as connection:
        connection.flushall()


def pause_redis(seconds: float) -> Break:
    """Have it answer nobody for a while, by its own command."""

    async def break_it(stage: Stage) -> None:
        with stage.cluster.redis.connect() as connection:
            connection.client_pause(int(seconds * 1000))
        await _wait(seconds)

    return break_it


def freeze_redis(seconds: float) -> Break:
    """Stop it in mid-air for a while; its connections stay."""

    async def break_it(stage: Stage) -> None:
        stage.cluster.redis.freeze()
        try:
            await _wait(seconds)
        finally:
            stage.cluster.redis.thaw()

    return break_it
