"""The periodic work for the members of a large team: `room.activity`."""

from statistics import median
from typing import Final

from tests.bench.pages.large_team import ask, built
from tests.bench.report.figures import Figure
from tests.bench.resources import Resources
from tests.cluster.harness.services import missing_packages

GOALS_MS: Final = {"1000": 5.0}


def measure(resources: Resources) -> list[Figure]:
    """Measure one batch, which a process sends at most once a second."""
    if absent := missing_packages():
        return [Figure("room.activity", None, "", note=f"not installed: {', '.join(absent)}")]
    figures = []
    for people, batch in ask(built(resources), "activity").items():
        name = f"room.activity, {people} people elsewhere with 1,000 unread"
        total = median(batch["cpu"]) + batch["database"]
        figures += [
            Figure(f"{name}, CPU", total, "ms", GOALS_MS.get(people)),
            Figure(f"{name}, CPU of PostgreSQL", batch["database"], "ms"),
        ]
    return figures
