"""Event loop lag while a thread of the process imports CrewAI."""

import json
import urllib.request
from collections.abc import Iterable, Iterator
from statistics import median
from typing import Final

from tests.bench.process.instrumented_server import INTERVAL
from tests.bench.report.figures import Figure, percentile
from tests.bench.resources import Resources
from tests.deadlines import DEADLINE
from tests.live import Installation

STARTS: Final = 3
NOTE: Final = (
    "a task in the server's event loop sleeps for 5 ms repeatedly and records how late it wakes, "
    "from the start of the import to its end. A longer delay counts once per 5 ms of its duration, "
    "because a request at each of these moments would have waited."
)


def measure(resources: Resources) -> list[Figure]:
    """Start a server that measures the lag of its loop, three times."""
    installation = resources.installation(
        "lag", "-m", "tests.bench.process.instrumented_server", "lags"
    )
    starts = [_lags_of_a_start(installation) for _ in range(STARTS)]
    p99 = tuple(percentile(waits, 0.99) * 1000 for waits in starts)
    worst = tuple(max(waits) * 1000 for waits in starts)
    took = tuple(len(waits) * INTERVAL for waits in starts)
    return [
        Figure("loop lag in the import, p99", median(p99), "ms", 100, p99, NOTE),
        Figure("loop lag in the import, longest", median(worst), "ms", rounds=worst),
        Figure("import of CrewAI", median(took), "s", rounds=took),
    ]


def _lags_of_a_start(installation: Installation) -> list[float]:
    with installation:
        address = f"{installation.url}/bench/lags"
        with urllib.request.urlopen(address, timeout=DEADLINE) as response:
            return list(_with_missed(json.load(response)))


def _with_missed(lags: Iterable[float]) -> Iterator[float]:
    """Add the lags that the task would have measured during a longer delay."""
    for lag in lags:
        yield lag
        missed = lag - INTERVAL
        while missed > 0:
            yield missed
            missed -= INTERVAL
