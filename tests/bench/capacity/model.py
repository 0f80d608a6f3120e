"""The model of deploy/CAPACITY.md: the CPU time that each kind of process needs for a load.

A load is a number of activities per second. A process needs the sum of number × cost, and a
constant at rest. The costs are measured (`measured.py`); nothing else of the model is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Final

import numpy as np

MAX_USE: Final = 0.6
"""The share of a core that a process may use on average: above it, queues grow steeply."""

ACTIVITIES: Final = {
    "web": ("rest", "sockets", "messages", "answers", "received", "frames", "joins", "reads"),
    "worker": ("rest", "answers", "deltas"),
    "postgres": ("rest", "sockets", "messages", "answers", "joins", "reads"),
    "redis": ("rest", "messages", "answers", "deltas", "joins"),
}
"""The activities that cost CPU time, by the kind of process; `rest` is a second of one process."""

EVENTS_OF_MESSAGE: Final = 1
EVENTS_OF_ANSWER: Final = 5
"""`run.queued`, `message.created`, `run.started`, `message.completed` and `run.completed`."""


@dataclass(frozen=True)
class Load:
    """Activities per second, and the number of open sockets.

    A delta is a batch of tokens, as the worker publishes it. `received` counts what web processes
    read from Redis, once for each process; a frame is one event or delta at one socket. `reads`
    counts the reads of a room's state: joins share one until the room changes.
    """

    sockets: float = 0
    messages: float = 0
    answers: float = 0
    deltas: float = 0
    received: float = 0
    frames: float = 0
    joins: float = 0
    reads: float = 0

    def amount(self, activity: str) -> float:
        """Return the rate of an activity; `rest` has the rate 1."""
        return 1.0 if activity == "rest" else float(asdict(self)[activity])


Costs = Mapping[str, Mapping[str, float]]
"""CPU seconds by kind of process and activity."""


@dataclass(frozen=True)
class Sample:
    """A measured load, and the cores that each kind of process used for it."""

    load: Load
    cores: Mapping[str, float]


def fit(samples: Sequence[Sample]) -> Costs:
    """Return the costs that explain the samples best; all relative errors weigh the same."""
    costs: dict[str, dict[str, float]] = {}
    for kind, names in ACTIVITIES.items():
        used = np.array([sample.cores[kind] for sample in samples])
        rows = np.array([[sample.load.amount(name) for name in names] for sample in samples])
        weights = 1 / np.maximum(used, 0.01)
        found = _not_negative(rows * weights[:, None], used * weights)
        costs[kind] = dict(zip(names, found, strict=True))
    return costs


def _not_negative(rows: np.ndarray, used: np.ndarray) -> list[float]:
    """Solve a least-squares problem; a column whose cost would be negative costs nothing."""
    columns = list(range(rows.shape[1]))
    found = np.zeros(rows.shape[1])
    while columns:
        solved = np.linalg.lstsq(rows[:, columns], used, rcond=None)[0]
        if (solved >= 0).all():
            found[columns] = solved
            break
        columns.remove(columns[int(np.argmin(solved))])
    return [float(cost) for cost in found]


def cores(costs: Costs, kind: str, load: Load) -> float:
    """Return the cores that the processes of a kind need for a load, with one `rest`."""
    return sum(load.amount(name) * cost for name, cost in costs[kind].items())


@dataclass(frozen=True)
class Habits:
    """What one person who is online does; the defaults are an active team in working hours."""

    sockets: float = 1.3
    messages: float = 0.2 / 60
    asked: float = 0.4
    """The share of the messages that a persona answers."""
    deltas: float = 70
    """Deltas of an answer: 300 tokens at 60 a second, published 14 times a second."""
    readers: float = 12
    """The sockets that have joined a room."""
    joins: float = 0.5 / 60


def load_of(people: float, habits: Habits, webs: int = 1) -> Load:
    """Return the load of people who are online, whose sockets `webs` processes share evenly.

    The readers of a room are on `webs × (1 − (1 − 1/webs)^readers)` processes on average; each of
    them receives each event and delta of the room.
    """
    messages = people * habits.messages
    answers = messages * habits.asked
    deltas = answers * habits.deltas
    published = messages * EVENTS_OF_MESSAGE + answers * EVENTS_OF_ANSWER + deltas
    spread = webs * (1 - (1 - 1 / webs) ** habits.readers)
    return Load(
        sockets=people * habits.sockets,
        messages=messages,
        answers=answers,
        deltas=deltas,
        received=published * spread,
        frames=published * habits.readers,
        joins=people * habits.joins,
        reads=people * habits.joins,  # the room has always changed since the join before
    )


@dataclass(frozen=True)
class Needs:
    """Processes of Maru, cores of PostgreSQL and the cores that Redis uses."""

    webs: int
    workers: int
    postgres: float
    redis: float


def needs(costs: Costs, people: float, habits: Habits) -> Needs:
    """Return the processes with which none uses more than MAX_USE of a core on average."""
    webs = 1
    while True:
        load = load_of(people, habits, webs)
        enough = _processes(costs, "web", load)
        if enough <= webs:
            break
        webs = enough
    return Needs(
        webs=webs,
        workers=_processes(costs, "worker", load),
        postgres=cores(costs, "postgres", load),
        redis=cores(costs, "redis", load),
    )


def _processes(costs: Costs, kind: str, load: Load) -> int:
    rest = costs[kind]["rest"]
    return max(ceil((cores(costs, kind, load) - rest) / (MAX_USE - rest)), 1)


def knee(costs: Costs, kind: str, habits: Habits) -> float:
    """Return the people online at which one process of a kind uses MAX_USE of a core."""
    rest = costs[kind]["rest"]
    each = cores(costs, kind, load_of(1, habits)) - rest
    return (MAX_USE - rest) / each if each > 0 else float("inf")


def total(*loads: Load) -> Load:
    """Return the sum of loads."""
    names = asdict(loads[0])
    return Load(**{name: sum(asdict(load)[name] for load in loads) for name in names})


def scaled(load: Load, factor: float) -> Load:
    """Return a load with all rates and sockets multiplied by a factor."""
    return replace(load, **{name: value * factor for name, value in asdict(load).items()})
