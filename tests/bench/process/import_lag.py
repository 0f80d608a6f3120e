"""How late the loop is while CrewAI is imported behind it."""

import json
import urllib.request
from collections.abc import Iterable, Iterator
from statistics import median
from typing import Final

from tests.bench.process.instrumented_server import EVERY
from tests.bench.report.figures import Figure, percentile
from tests.bench.resources import Stage
from tests.deadlines import DEADLINE
from tests.live import Installation

STARTS: Final = 3
NOTE: Final = (
    "a task in the server's own loop sleeps 5 ms again and again and notes how late it wakes, from "
    "the start of the import to its end; a hold-up counts once for every 5 ms that it lasted, as "
    "whoever had come in at any moment of it would have waited."
)


def measure(stage: Stage) -> list[Figure]:
    """Start a server that watches its own loop, three times."""
    installation = stage.installation(
        "lag", "-m", "tests.bench.process.instrumented_server", "lags"
    )
    starts = [_waits_of_a_start(installation) for _ in range(STARTS)]
    p99 = tuple(percentile(waits, 0.99) * 1000 for waits in starts)
    worst = tuple(max(waits) * 1000 for waits in starts)
    took = tuple(len(waits) * EVERY for waits in starts)
    return [
        Figure("loop lag in the import, p99", median(p99), "ms", 100, p99, NOTE),
        Figure("loop lag in the import, longest", median(worst), "ms", rounds=worst),
        Figure("import of CrewAI", median(took), "s", rounds=took),
    ]


def _waits_of_a_start(installation: Installation) -> list[float]:
    with installation:
        address = f"{installation.url}/bench/lags"
        with urllib.request.urlopen(address, timeout=DEADLINE) as response:
            return list(_waits(json.load(response)))


def _waits(lags: Iterable[float]) -> Iterator[float]:
    """The probe could not ask while it was held up: add what it would have found."""
    for lag in lags:
        yield lag
        missed = lag - EVERY
        while missed > 0:
            yield missed
            missed -= EVERY
