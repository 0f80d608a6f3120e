"""Workers are killed, or suspended until their leases have expired."""

import asyncio
import random
import signal
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, cycle, islice

from tests.bench.report.figures import percentile
from tests.chaos.target import (
    HELD,
    LONG,
    POLL_SECONDS,
    QUICK,
    SHORT,
    Outcome,
    Target,
    ask,
    ask_all,
    poll,
)
from tests.cluster.harness import stored_state
from tests.cluster.harness.cluster import Worker
from tests.cluster.harness.recording_client import gather_or_cancel

MIN_RUNNING = 3
"""A worker is killed or frozen only while it has at least this many running runs."""

MODELS = (SHORT, QUICK, QUICK, QUICK)
"""Some answers last long enough to be interrupted; the others allow many prompts."""


@dataclass(frozen=True)
class Kill:
    """A worker was killed at this time, with these running runs."""

    at: datetime
    runs: list[str]


async def kill_workers(target: Target, *, prompts: int, kills: int, concurrency: int) -> Outcome:
    """Kill a random worker repeatedly while questions are asked.

    The kills are spread evenly over the prompts. More prompts are sent if the last kill is late.
    """
    killed: list[Kill] = []
    numbers = count()
    prompts_sent = 0

    async def ask_repeatedly(room: str) -> None:
        nonlocal prompts_sent
        while (number := next(numbers)) < prompts or len(killed) < kills:
            one = await ask(clients.any_in(room), MODELS[number % len(MODELS)])
            prompts_sent += 1
            await one.until_ended()

    async with target.clients() as clients:
        rooms = islice(cycle(clients.rooms), concurrency)
        asking = asyncio.create_task(gather_or_cancel(ask_repeatedly(room) for room in rooms))
        while len(killed) < kills and not asking.done():
            if prompts_sent >= prompts * (len(killed) + 1) // (kills + 1):
                killed += await kill_busy_worker(target)
            await asyncio.sleep(POLL_SECONDS)
        await asking
        outcome = await target.check(clients)
    outcome.figures |= {"kills": len(killed), **_recovery_times(target, killed)}
    return outcome


async def kill_full_workers(target: Target, *, kills: int, slots: int) -> Outcome:
    """Kill a worker whose run slots are all streaming, while the other worker is full as well."""
    killed: list[Kill] = []
    async with target.clients() as clients:
        for _ in range(kills):
            rooms = islice(cycle(clients.rooms), slots * len(target.cluster.workers))
            asked = await gather_or_cancel(ask(clients.any_in(room), HELD) for room in rooms)
            await poll(lambda: _all_full(target, slots))
            target.provider.release()
            killed.append(await _kill(target, random.choice(target.cluster.workers)))
            ending = asyncio.create_task(gather_or_cancel(one.until_ended() for one in asked))
            while not ending.done():
                target.provider.release()  # for the runs that started again
                await asyncio.wait([ending], timeout=POLL_SECONDS)
            await ending
            await asyncio.to_thread(target.cluster.wait_for_workers)
        outcome = await target.check(clients)
    recovery = _recovery_times(target, killed)
    outcome.figures |= {"kills": len(killed), "run slots of a worker": slots, **recovery}
    return outcome


def _all_full(target: Target, slots: int) -> bool:
    return all(len(_running_on(target, worker)) == slots for worker in target.cluster.workers)


async def kill_busy_worker(target: Target) -> list[Kill]:
    """Kill and restart a busy worker; return no Kill unless two workers are busy.

    A worker that is still importing CrewAI takes nothing over, so no run would be left running.
    """
    workers = {worker.name: worker for worker in target.cluster.workers}
    running = {
        name: await asyncio.to_thread(_running_on, target, worker)
        for name, worker in workers.items()
    }
    busy = [name for name, runs in running.items() if len(runs) >= MIN_RUNNING]
    if len(busy) < 2:
        return []
    return [await _kill(target, workers[random.choice(busy)])]


async def _kill(target: Target, worker: Worker) -> Kill:
    running = await asyncio.to_thread(_running_on, target, worker)
    kill = Kill(datetime.now(UTC), running)
    await asyncio.to_thread(worker.stop, signal.SIGKILL)
    worker.start()
    return kill


def _running_on(target: Target, worker: Worker) -> list[str]:
    return stored_state.running_on(target.cluster.postgres, worker.name)


def _recovery_times(target: Target, kills: Collection[Kill]) -> dict[str, float]:
    """Return how long a run took from the last kill of its worker to its next claim and its end."""
    last_kill = {run: kill.at for kill in kills for run in kill.runs}
    stored = target.read_state()
    claimed = {step.run: step.at for step in stored.transitions if step.state == "running"}
    ends = {run.id: run.ended_at for run in stored.runs}
    to_end = {
        run: (ended - at).total_seconds()
        for run, at in last_kill.items()
        if (ended := ends[run]) is not None and ended > at
    }
    if not to_end:
        return {"runs interrupted": 0}
    to_claim = [max((claimed[run] - last_kill[run]).total_seconds(), 0.0) for run in to_end]
    return {
        "runs interrupted": len(to_end),
        "kill to take-over, p50 (s)": percentile(to_claim, 0.5),
        "kill to take-over, p99 (s)": percentile(to_claim, 0.99),
        "kill to end of run, p50 (s)": percentile([*to_end.values()], 0.5),
        "kill to end of run, p99 (s)": percentile([*to_end.values()], 0.99),
        "kill to end of run, longest (s)": max(to_end.values()),
    }


async def freeze_workers(target: Target, *, rounds: int, runs: int) -> Outcome:
    """Freeze a worker with running runs, and thaw it after other workers have taken them over.

    At that moment some of these runs have ended and the others are streaming.
    """
    taken_over = 0
    async with target.clients() as clients:
        for number in range(rounds):
            asked = await gather_or_cancel(
                ask(clients.any_in(room), model)
                for room, model in islice(
                    zip(cycle(clients.rooms), cycle([SHORT, LONG]), strict=False), runs
                )
            )
            worker = target.cluster.workers[number % len(target.cluster.workers)]
            taken_over += await _freeze_until_taken_over(target, worker)
            await gather_or_cancel(one.until_ended() for one in asked)
        # The thawed workers must claim and complete runs again.
        await ask_all(clients, [SHORT], prompts=2 * runs, concurrency=2 * runs)
        outcome = await target.check(clients)
    outcome.figures |= {"frozen workers": rounds, "runs taken over from them": taken_over}
    return outcome


async def _freeze_until_taken_over(target: Target, worker: Worker) -> int:
    """Freeze a worker until it has lost all its runs; return their number."""
    await poll(lambda: len(_running_on(target, worker)) >= MIN_RUNNING)
    worker.freeze()
    try:
        running = await asyncio.to_thread(_running_on, target, worker)
        await poll(lambda: not _running_on(target, worker))
        await poll(lambda: _were_taken_over(target, running))
    finally:
        worker.thaw()
    return len(running)


def _were_taken_over(target: Target, runs: Collection[str]) -> bool:
    """Return True if other workers have claimed these runs and ended at least one of them.

    A run whose last transaction was in flight at the freeze may have ended without a take-over.
    """
    rows = [run for run in target.read_state().runs if run.id in runs]
    others = [run for run in rows if run.attempt > 1]
    return all(run.attempt > 1 or run.ended_at for run in rows) and any(
        run.ended_at for run in others
    )
