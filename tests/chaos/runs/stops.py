"""Runs are cancelled before their first token and after any token."""

import asyncio
import random
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from tests.bench.report.figures import percentile
from tests.chaos.target import HELD, QUICK, Outcome, Target, ask, ask_all
from tests.cluster.harness.recording_client import (
    RecordingClient,
    RecordingClients,
    gather_or_cancel,
)
from tests.cluster.harness.stored_state import RunRow
from tests.deadlines import DEADLINE
from tests.provider import Provider, Request

MAX_TOKENS = 10
"""A run is cancelled after at most this many tokens. Then its provider waits, so the run cannot end
before."""


@dataclass(frozen=True)
class Stop:
    """An acknowledged run.cancel: its duration in seconds, and when it ended (monotonic clock)."""

    run: str
    seconds: float
    at: float


async def cancel_runs(target: Target, *, stops: int, concurrency: int) -> Outcome:
    """Cancel runs at varying moments, by their asker or by the room's owner."""
    slots = asyncio.Semaphore(concurrency)

    async def cancel(number: int, clients: RecordingClients) -> Stop:
        async with slots:
            room = clients.rooms[number % len(clients.rooms)]
            return await _cancel(clients.by_room[room], after=number % (MAX_TOKENS + 1))

    async with target.clients() as clients:
        stopped = await gather_or_cancel(cancel(number, clients) for number in range(stops))
        # A run slot that a cancelled run did not free would make these runs wait.
        more = concurrency * 4
        await ask_all(clients, [QUICK], prompts=more, concurrency=more)
        outcome = await target.check(clients)
    runs = {run.id: run for run in target.read_state().runs}
    waits, violations = _closed_connections(target, stopped, runs)
    outcome.violations += violations
    seconds = [stop.seconds for stop in stopped]
    outcome.figures |= {
        "stops": len(stopped),
        "stop to acknowledgement, p50 (ms)": 1000 * percentile(seconds, 0.5),
        "stop to acknowledgement, p99 (ms)": 1000 * percentile(seconds, 0.99),
        "closed provider connections": len(waits),
    }
    if waits:
        outcome.figures["acknowledgement to closed connection, p99 (s)"] = percentile(waits, 0.99)
    return outcome


async def _cancel(clients: list[RecordingClient], *, after: int) -> Stop:
    """Ask, and cancel after `after` tokens; every third run is cancelled by two clients at once."""
    asker = random.choice(clients)
    asked = await ask(asker, HELD)
    await asker.until(lambda: asker.tokens[asked.run] >= after)
    owner = clients[0]
    cancelling = [owner, asker] if after % 3 == 0 else [random.choice([owner, asker])]
    began = time.monotonic()
    await gather_or_cancel(client.command("run.cancel", run=asked.run) for client in cancelling)
    now = time.monotonic()
    return Stop(asked.run, now - began, now)


def _closed_connections(
    target: Target, stops: Collection[Stop], runs: dict[str, RunRow]
) -> tuple[list[float], list[str]]:
    """Return the seconds from each stop to the provider's closed connection, and the violations.

    A request that the provider answered to the end is a violation.
    """
    requests = {_canary_of(request): request for request in list(target.provider.requests)}
    waits, violations = [], []
    for stop in stops:
        run = runs[stop.run]
        request = requests.get(run.question.split()[-1])
        if run.state != "cancelled":
            violations.append(f"run {run.id} was stopped, but is {run.state}")
        if request is None:
            continue  # cancelled before the request was sent
        target.provider.wait(partial(_has_ended, request), DEADLINE)
        if request.client_left_at is None:
            violations.append(f"run {run.id} was stopped, but its provider sent the whole answer")
        else:
            waits.append(max(request.client_left_at - stop.at, 0.0))
    return waits, violations


def _has_ended(request: Request, _provider: Provider) -> bool:
    return request.ended


def _canary_of(request: Request) -> str | None:
    """Return the canary of the question in a request; None for the request of a summary."""
    questions = [str(m["content"]) for m in request.messages if m["role"] == "user"]
    words = reversed(questions[-1].split())
    return next((word for word in words if word.startswith("CANARY-")), None)
