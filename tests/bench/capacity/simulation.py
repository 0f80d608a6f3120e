"""A discrete simulation of the queues: what the averages of the model do not show.

People write and join at random times (Poisson). Each step of a message, an answer or a join waits
in the queue of one process, first in, first out. The service times are the costs of the model.
"""

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.bench.capacity.model import EVENTS_OF_ANSWER, EVENTS_OF_MESSAGE, Costs, Habits
from tests.bench.report.figures import percentile

SECONDS: Final = 120.0
"""Simulated seconds."""
DELTAS_PER_SECOND: Final = 14.0
MAX_DELAY: Final = 0.1
"""Seconds from a delta at the worker to the last socket, p99: above it, text is seen to stutter."""

Step = tuple[str, float]
"""A kind of process, and the CPU seconds that it needs for the step."""


@dataclass(frozen=True)
class Outcome:
    """The delays of all deltas in seconds, and the share of the time that each kind was busy."""

    delays: Sequence[float]
    use: dict[str, float]

    @property
    def p99(self) -> float:
        return percentile(self.delays, 0.99) if self.delays else 0.0


@dataclass
class Queue:
    """One process, or a kind of process that is never full (`is_limited` False)."""

    is_limited: bool
    free_at: float = 0.0
    busy: float = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """Return the time at which a step that arrives now is done."""
        self.busy += seconds
        if not self.is_limited:
            return now + seconds
        self.free_at = max(now, self.free_at) + seconds
        return self.free_at


@dataclass(order=True)
class _Job:
    """The remaining steps of one activity; a job with `due` is a delta, whose delay is recorded."""

    at: float
    number: int
    steps: list[Step] = field(compare=False)
    due: float | None = field(compare=False, default=None)


def simulate(costs: Costs, people: float, habits: Habits, limited: Sequence[str]) -> Outcome:
    """Simulate one process of each kind; the kinds that are not `limited` have no queue."""
    queues = {kind: Queue(kind in limited) for kind in costs}
    jobs = _jobs(costs, people, habits, random.Random(1))
    heapq.heapify(jobs)
    delays: list[float] = []
    while jobs:
        job = heapq.heappop(jobs)
        kind, seconds = job.steps[0]
        done = queues[kind].serve(job.at, seconds)
        if len(job.steps) > 1:
            heapq.heappush(jobs, _Job(done, job.number, job.steps[1:], job.due))
        elif job.due is not None:
            delays.append(done - job.due)
    rest = {kind: _constant(costs, kind, people, habits) for kind in costs}
    return Outcome(delays, {kind: queues[kind].busy / SECONDS + rest[kind] for kind in costs})


def simulated_knee(costs: Costs, kind: str, habits: Habits) -> float:
    """Return the most people, to 2 %, for whom one process of a kind keeps MAX_DELAY."""
    enough, too_many = 1.0, 2.0
    while simulate(costs, too_many, habits, (kind,)).p99 <= MAX_DELAY:
        enough, too_many = too_many, too_many * 2
        if too_many > 1e6:
            return float("inf")
    while too_many / enough > 1.02:
        middle = (enough + too_many) / 2
        if simulate(costs, middle, habits, (kind,)).p99 <= MAX_DELAY:
            enough = middle
        else:
            too_many = middle
    return enough


def _constant(costs: Costs, kind: str, people: float, habits: Habits) -> float:
    """Return the cores for open sockets and for the process itself, which no job has."""
    return costs[kind]["rest"] + costs[kind].get("sockets", 0.0) * people * habits.sockets


def _jobs(costs: Costs, people: float, habits: Habits, chance: random.Random) -> list[_Job]:
    """Return all jobs of SECONDS, each with the time at which its first step arrives.

    Constant work slows all steps of its process down: the rest of the core is left for them.
    """

    def step(kind: str, activity: str, times: float = 1.0) -> Step:
        left = max(1 - _constant(costs, kind, people, habits), 0.01)
        return kind, costs[kind].get(activity, 0.0) * times / left

    def fan_out(events: float) -> list[Step]:
        web = step("web", "received", events)[1] + step("web", "frames", events * habits.readers)[1]
        return [("web", web)]

    jobs: list[_Job] = []

    def add(at: float, steps: list[Step], due: float | None = None) -> None:
        jobs.append(_Job(at, len(jobs), steps, due))

    for at in _arrivals(people * habits.messages, chance):
        post = [step(kind, "messages") for kind in ("web", "postgres", "redis")]
        add(at, [*post, *fan_out(EVENTS_OF_MESSAGE)])
        if chance.random() >= habits.asked:
            continue
        answer = [step(kind, "answers") for kind in ("postgres", "worker", "redis", "web")]
        add(at, [*answer, *fan_out(EVENTS_OF_ANSWER)])
        for number in range(round(habits.deltas)):
            due = at + number / DELTAS_PER_SECOND
            add(due, [step("worker", "deltas"), step("redis", "deltas"), *fan_out(1)], due)
    for at in _arrivals(people * habits.joins, chance):
        add(at, [step(kind, name) for name in ("joins", "reads") for kind in ("web", "postgres")])
    return jobs


def _arrivals(rate: float, chance: random.Random) -> list[float]:
    """Return random times in SECONDS at a mean rate (a Poisson process)."""
    times, now = [], 0.0
    while rate > 0 and (now := now + chance.expovariate(rate)) < SECONDS:
        times.append(now)
    return times
