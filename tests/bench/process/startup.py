"""Time from `python -m maru.server` to the first 200 of /healthz."""

import time
from signal import SIGKILL
from typing import Final

from tests.bench.report.figures import Figure, of_rounds
from tests.bench.resources import Resources
from tests.live import Installation

STARTS: Final = 3


def measure(resources: Resources) -> list[Figure]:
    """Start an empty installation, then the same installation again with a migrated database."""
    installation = resources.installation("ready")
    first = _seconds_to_response(installation)
    again = [[_seconds_to_response(installation)] for _ in range(STARTS)]
    return [
        of_rounds("start to first response", again, "s", goal=3),
        Figure("first start, with migrations", first, "s"),
    ]


def _seconds_to_response(installation: Installation) -> float:
    began = time.monotonic()
    installation.start()
    seconds = time.monotonic() - began
    # SIGKILL, because a clean stop would wait for the thread that imports CrewAI.
    installation.stop(SIGKILL)
    return seconds
