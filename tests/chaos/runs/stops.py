"""Answers that are stopped, before their first delta and after any: RUN-12."""

import asyncio
import random
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from tests.bench.report.figures import percentile
from tests.chaos.target import LONG, QUICK, Outcome, Stage, ask, ask_all
from tests.cluster.harness.recording_client import Audience, Witness, together
from tests.cluster.harness.stored_state import RunRow
from tests.deadlines import DEADLINE
from tests.provider import Provider, Request

DELTAS = 10
"""An answer is stopped after so many at most: the provider has much more to say by then."""


@dataclass(frozen=True)
class Stop:
    """A stop was acknowledged, after so many seconds, at this time of the provider's clock."""

    run: str
    took: float
    at: float


async def stop_answers(stage: Stage, *, stops: int, at_once: int) -> Outcome:
    """Stop answers before their first delta, and after any; by the asker or the room's owner."""
    places = asyncio.Semaphore(at_once)

    async def one(number: int, gathered: Audience) -> Stop:
        async with places:
            room = gathered.rooms[number % len(gathered.rooms)]
            return await _stop_one(gathered.witnesses[room], after=number % (DELTAS + 1))

    async with stage.audience() as gathered:
        stopped = await together(one(number, gathered) for number in range(stops))
        # A slot that was not freed would be missing now.
        await ask_all(gathered, [QUICK], prompts=at_once * 4, at_once=at_once * 4)
        outcome = await stage.verdict(gathered)
    runs = {run.id: run for run in stage.read().runs}
    waits, complaints = _closings(stage, stopped, runs)
    outcome.complaints += complaints
    outcome.figures |= {
        "stops": len(stopped),
        "stop to its acknowledgement, p50 (ms)": 1000 * percentile([s.took for s in stopped], 0.5),
        "stop to its acknowledgement, p99 (ms)": 1000 * percentile([s.took for s in stopped], 0.99),
        "connections closed": len(waits),
    }
    if waits:
        outcome.figures["acknowledgement to connection closed, p99 (s)"] = percentile(waits, 0.99)
    return outcome


async def _stop_one(witnesses: list[Witness], *, after: int) -> Stop:
    """Ask, and stop the answer once so many deltas were heard; every third time twice at once."""
    asker = random.choice(witnesses)
    asked = await ask(asker, LONG)
    await asker.until(lambda: asker.shown[asked.run] >= after)
    owner = witnesses[0]
    stoppers = [owner, asker] if after % 3 == 0 else [random.choice([owner, asker])]
    began = time.monotonic()
    await together(stopper.command("run.cancel", run=asked.run) for stopper in stoppers)
    now = time.monotonic()
    return Stop(asked.run, now - began, now)


def _closings(
    stage: Stage, stops: Collection[Stop], runs: dict[str, RunRow]
) -> tuple[list[float], list[str]]:
    """When the provider saw its client leave, after each stop; whom it told all is a complaint."""
    asked = {_canary_of(request): request for request in list(stage.provider.requests)}
    waits, complaints = [], []
    for stop in stops:
        run = runs[stop.run]
        request = asked.get(run.question.split()[-1])
        if run.state != "cancelled":
            complaints.append(f"run {run.id} was stopped, and is {run.state}")
        if request is None:
            continue  # stopped before anybody was asked
        stage.provider.wait(partial(_has_ended, request), DEADLINE)
        if request.client_left_at is None:
            complaints.append(f"run {run.id} was stopped, and the provider went on to its end")
        else:
            waits.append(max(request.client_left_at - stop.at, 0.0))
    return waits, complaints


def _has_ended(request: Request, _provider: Provider) -> bool:
    return request.ended


def _canary_of(request: Request) -> str:
    """Return the canary of the question that a request was about."""
    said = [str(m["content"]) for m in request.messages if m["role"] == "user"]
    return next(word for word in reversed(said[-1].split()) if word.startswith("CANARY-"))
