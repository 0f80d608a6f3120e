"""Workers that die, and workers that only seem to: RUN-01, RUN-02, RUN-03."""

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
    LOOK_SECONDS,
    QUICK,
    SOON,
    Outcome,
    Stage,
    ask,
    ask_all,
    eventually,
)
from tests.cluster.harness import stored_state as book
from tests.cluster.harness.cluster import Worker
from tests.cluster.harness.recording_client import together

AT_LEAST = 3
"""So many answers must be under way in a worker for its death to be worth something."""

SPEEDS = (SOON, QUICK, QUICK, QUICK)
"""Slow ones to be cut, and others so that many can be asked."""


@dataclass(frozen=True)
class Cut:
    """A worker was ended at a time, and had these runs."""

    at: datetime
    runs: list[str]


async def kill_workers(stage: Stage, *, prompts: int, kills: int, at_once: int) -> Outcome:
    """End a random worker without warning, again and again, while questions are asked.

    The kills are spread over the questions; at least so many are asked, and on until the last
    worker has been killed.
    """
    cuts: list[Cut] = []
    numbers = count()
    asked = 0

    async def keep_asking(room: str) -> None:
        nonlocal asked
        while (number := next(numbers)) < prompts or len(cuts) < kills:
            one = await ask(gathered.anybody(room), SPEEDS[number % len(SPEEDS)])
            asked += 1
            await one.ended()

    async with stage.audience() as gathered:
        rooms = islice(cycle(gathered.rooms), at_once)
        asking = asyncio.create_task(together(keep_asking(room) for room in rooms))
        while len(cuts) < kills and not asking.done():
            if asked >= prompts * (len(cuts) + 1) // (kills + 1):
                cuts += await _kill_one_of(stage)
            await asyncio.sleep(LOOK_SECONDS)
        await asking
        outcome = await stage.verdict(gathered)
    outcome.figures |= {"kills": len(cuts), **_waits(stage, cuts)}
    return outcome


async def kill_full_workers(stage: Stage, *, kills: int, slots: int) -> Outcome:
    """Kill a worker whose slots are all filled with streaming answers, a full one beside it."""
    cuts: list[Cut] = []
    async with stage.audience() as gathered:
        for _ in range(kills):
            rooms = islice(cycle(gathered.rooms), slots * len(stage.cluster.workers))
            asked = await together(ask(gathered.anybody(room), HELD) for room in rooms)
            await eventually(lambda: _all_full(stage, slots))
            stage.provider.release()
            cuts.append(await _kill(stage, random.choice(stage.cluster.workers)))
            ending = asyncio.create_task(together(one.ended() for one in asked))
            while not ending.done():
                stage.provider.release()  # those that have begun again
                await asyncio.wait([ending], timeout=LOOK_SECONDS)
            await ending
            await asyncio.to_thread(stage.cluster.wait_for_workers)
        outcome = await stage.verdict(gathered)
    outcome.figures |= {"kills": len(cuts), "slots of a worker": slots, **_waits(stage, cuts)}
    return outcome


def _all_full(stage: Stage, slots: int) -> bool:
    return all(len(_held(stage, worker)) == slots for worker in stage.cluster.workers)


async def _kill_one_of(stage: Stage) -> list[Cut]:
    """Kill one of those that are in the middle of several answers, and start it again."""
    workers = {worker.name: worker for worker in stage.cluster.workers}
    held = {name: await asyncio.to_thread(_held, stage, workers[name]) for name in workers}
    busy = [name for name, runs in held.items() if len(runs) >= AT_LEAST]
    if len(busy) < 2:
        return []  # the others are not warm yet: all would be dead at once
    return [await _kill(stage, workers[random.choice(busy)])]


async def _kill(stage: Stage, worker: Worker) -> Cut:
    held = await asyncio.to_thread(_held, stage, worker)
    cut = Cut(datetime.now(UTC), held)
    await asyncio.to_thread(worker.stop, signal.SIGKILL)
    worker.start()
    return cut


def _held(stage: Stage, worker: Worker) -> list[str]:
    return book.held(stage.cluster.postgres, worker.name)


def _waits(stage: Stage, cuts: Collection[Cut]) -> dict[str, float]:
    """How long it took from the death of its last worker until another had each run, and an end."""
    last = {run: cut.at for cut in cuts for run in cut.runs}
    kept = stage.read()
    taken = {step.run: step.at for step in kept.steps if step.state == "running"}
    ends = {run.id: run.ended_at for run in kept.runs}
    waits = {
        run: (ended - at).total_seconds()
        for run, at in last.items()
        if (ended := ends[run]) is not None and ended > at
    }
    if not waits:
        return {"runs cut": 0}
    again = [max((taken[run] - last[run]).total_seconds(), 0.0) for run in waits]
    return {
        "runs cut": len(waits),
        "from kill to taken over, p50 (s)": percentile(again, 0.5),
        "from kill to taken over, p99 (s)": percentile(again, 0.99),
        "from kill to end, p50 (s)": percentile([*waits.values()], 0.5),
        "from kill to end, p99 (s)": percentile([*waits.values()], 0.99),
        "from kill to end, longest (s)": max(waits.values()),
    }


async def freeze_workers(stage: Stage, *, rounds: int, runs: int) -> Outcome:
    """Freeze a worker in the middle of answers, and let it go on when others have taken them over.

    Half of what was taken over has ended by then, and half is being said just now.
    """
    stale = 0
    async with stage.audience() as gathered:
        for number in range(rounds):
            asked = await together(
                ask(gathered.anybody(room), model)
                for room, model in islice(
                    zip(cycle(gathered.rooms), cycle([SOON, LONG]), strict=False), runs
                )
            )
            worker = stage.cluster.workers[number % len(stage.cluster.workers)]
            stale += await _be_a_zombie(stage, worker)
            await together(one.ended() for one in asked)
        # Whoever was a zombie is a worker again.
        await ask_all(gathered, [SOON], prompts=2 * runs, at_once=2 * runs)
        outcome = await stage.verdict(gathered)
    outcome.figures |= {"frozen workers": rounds, "runs taken from them": stale}
    return outcome


async def _be_a_zombie(stage: Stage, worker: Worker) -> int:
    """Freeze a worker until none of its runs is its own any more; return how many it had."""
    await eventually(lambda: len(_held(stage, worker)) >= AT_LEAST)
    worker.freeze()
    try:
        held = await asyncio.to_thread(_held, stage, worker)
        await eventually(lambda: not _held(stage, worker))
        await eventually(lambda: _taken_over(stage, held))
    finally:
        worker.thaw()
    return len(held)


def _taken_over(stage: Stage, held: Collection[str]) -> bool:
    """Whether others have these runs, and have ended one of them.

    What was being committed when the worker froze may have ended all the same.
    """
    rows = [run for run in stage.read().runs if run.id in held]
    others = [run for run in rows if run.attempt > 1]
    taken = all(run.attempt > 1 or run.ended_at for run in rows)
    return taken and any(run.ended_at for run in others)
