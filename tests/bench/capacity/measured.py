"""The costs of the model, and its check: three mixed loads, predicted and measured.

One web process, one worker, PostgreSQL and Redis on this machine. The costs are fitted to loads
that have one activity each; the loads of the check mix them in other rooms and at other rates.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import uvloop

from tests.bench.capacity.driver import Group, joined, sample
from tests.bench.capacity.model import (
    ACTIVITIES,
    Costs,
    Habits,
    Load,
    Sample,
    cores,
    fit,
    knee,
    total,
)
from tests.bench.capacity.simulation import simulated_knee
from tests.bench.report.figures import Figure
from tests.bench.resources import Resources
from tests.cluster.harness.cluster import Cluster, private_cluster
from tests.cluster.harness.services import missing_packages
from tests.live import PopulatedRoom

SHORT: Final = "tokens-2"
LONG: Final = "tokens-200@60"
IDLE_SECONDS: Final = 8.0
CROWD: Final = 200
UNITS: Final = {"rest": "ms", "sockets": "µs"}
"""Milliseconds and microseconds in each second; the other activities cost ms or µs once."""


def measure(resources: Resources) -> list[Figure]:
    """Fit the costs, check them, and find the load at which the first process is full."""
    if absent := missing_packages():
        return [Figure("costs", None, "ms", note=f"not installed: {', '.join(absent)}")]
    with (
        TemporaryDirectory(prefix="maru-bench-") as folder,
        private_cluster(
            Path(folder) / "cluster", resources.provider_address, webs=1, workers=1
        ) as cluster,
    ):
        fitted, checks = uvloop.run(_measure(cluster, resources))
    costs = fit(fitted)
    return [
        _answer(fitted[-2], fitted[-1]),
        *_costs(costs),
        *_checks(costs, checks),
        *_knees(costs),
    ]


def _answer(idle: Sample, answering: Sample) -> Figure:
    """Return the CPU time of a question and its answer, beyond that of the idle sockets."""
    load = answering.load
    seconds = {
        kind: (used - idle.cores[kind]) / load.answers for kind, used in answering.cores.items()
    }
    note = ", ".join(f"{kind} {each * 1000:.0f}" for kind, each in seconds.items()) + " ms."
    name = f"CPU of an answer of 200 tokens to {CROWD} members, all processes"
    return Figure(name, sum(seconds.values()) * 1000, "ms", 250, note=note)


async def _measure(
    cluster: Cluster, resources: Resources
) -> tuple[list[Sample], Mapping[str, Sample]]:
    times = 1 if resources.quick else 3

    def rooms(count: int, members: int, model: str) -> list[PopulatedRoom]:
        return cluster.populate(count, members, "--provider", resources.provider, "--model", model)

    async def idle() -> Load:
        await asyncio.sleep(IDLE_SECONDS)
        return Load()

    fitted = [await sample(cluster, 0, idle)]
    short, long, crowd = rooms(20, 2, SHORT), rooms(10, 1, LONG), rooms(1, CROWD, LONG)
    async with joined(cluster, short) as group:
        await group.ask(1)  # the first answers load modules
        size = len(group.members)
        fitted += [
            await sample(cluster, size, lambda: group.post(150 * times)),
            await sample(cluster, size, lambda: group.ask(3 * times)),
            await sample(cluster, size, lambda: group.join(5 * times)),
            await sample(cluster, size, lambda: group.join_changed(5 * times)),
        ]
    for some, rounds in ((long, times), (crowd, 2 * times)):
        async with joined(cluster, some) as group:
            await group.ask(1)
            size = len(group.members)
            fitted += [
                await sample(cluster, size, idle),
                await sample(cluster, size, lambda: group.ask(rounds)),  # noqa: B023 # at once
            ]
    checks: dict[str, Sample] = {}
    for name, some, act in (
        ("20 rooms × 8, answers", rooms(20, 8, "tokens-120@40"), _answers(times)),
        ("2 rooms × 60, answers and messages", rooms(2, 60, LONG), _mixed(times)),
        ("50 rooms × 3, messages and joins", rooms(50, 3, SHORT), _busy(times)),
    ):
        async with joined(cluster, some) as group:
            await group.ask(1)
            checks[name] = await sample(cluster, len(group.members), lambda: act(group))  # noqa: B023
    return fitted, checks


def _answers(times: int) -> Callable[[Group], Awaitable[Load]]:
    return lambda group: group.ask(times, interval=0.1)


def _mixed(times: int) -> Callable[[Group], Awaitable[Load]]:
    async def act(group: Group) -> Load:
        answers, messages = await asyncio.gather(group.ask(2 * times), group.post(100 * times))
        return total(answers, messages)

    return act


def _busy(times: int) -> Callable[[Group], Awaitable[Load]]:
    async def act(group: Group) -> Load:
        messages, joins = await asyncio.gather(
            group.post(50 * times, 0.05), group.join_changed(2 * times)
        )
        return total(messages, joins)

    return act


def _costs(costs: Costs) -> list[Figure]:
    figures = []
    for kind, names in ACTIVITIES.items():
        for name in names:
            cost = costs[kind][name]
            unit = UNITS.get(name) or ("µs" if cost < 1e-3 else "ms")
            scale = 1e6 if unit == "µs" else 1e3
            figures.append(Figure(f"{kind}: {name}", cost * scale, unit))
    return figures


def _checks(costs: Costs, checks: Mapping[str, Sample]) -> list[Figure]:
    """Return how far the model is from each measured load, for all processes together."""
    figures = []
    for name, found in checks.items():
        predicted = {kind: cores(costs, kind, found.load) for kind in ACTIVITIES}
        measured, expected = sum(found.cores.values()), sum(predicted.values())
        each = ", ".join(
            f"{kind} {found.cores[kind]:.2f} and {predicted[kind]:.2f}" for kind in ACTIVITIES
        )
        wrong = abs(expected / measured - 1) * 100
        note = f"cores measured and predicted: {each}."
        figures.append(Figure(f"error of the model, {name}", wrong, "%", 20, note=note))
    return figures


def _knees(costs: Costs) -> list[Figure]:
    """Return the people online at which one process is full, by the model and the simulation."""
    habits = Habits()
    return [
        figure
        for kind in ("web", "worker")
        for figure in (
            Figure(f"people on one {kind} process, model", knee(costs, kind, habits), "people"),
            Figure(
                f"people on one {kind} process, simulation",
                simulated_knee(costs, kind, habits),
                "people",
            ),
        )
    ]
