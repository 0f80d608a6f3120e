"""The pages of a user in a large team: time, CPU of the web process, queries and size."""

from statistics import median
from typing import Final

from tests.bench.pages.large_team import ask, built
from tests.bench.report.figures import Figure
from tests.bench.resources import Resources
from tests.cluster.harness.services import missing_packages

GOAL_MS: Final = 150
GOAL_QUERIES: Final = 14
GOAL_KB: Final = 120


def measure(resources: Resources) -> list[Figure]:
    """Measure each page as the browser's first request gets it, without a server around it."""
    if absent := missing_packages():
        return [Figure("pages", None, "", note=f"not installed: {', '.join(absent)}")]
    figures = []
    for name, page in ask(built(resources), "pages").items():
        figures += [
            Figure(f"{name}, p50", median(page["ms"]), "ms", GOAL_MS),
            Figure(f"{name}, CPU of the web process, p50", median(page["cpu"]), "ms"),
            Figure(f"{name}, queries", page["queries"], "queries", GOAL_QUERIES),
            Figure(f"{name}, size", page["bytes"] / 1024, "KB", GOAL_KB),
        ]
    return figures
