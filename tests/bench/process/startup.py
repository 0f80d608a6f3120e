"""From `python -m maru.server` to the first 200 of /readyz."""

import time
from signal import SIGKILL
from typing import Final

from tests.bench.report.figures import Figure, of_rounds
from tests.bench.resources import Stage
from tests.live import Installation

STARTS: Final = 3


def measure(stage: Stage) -> list[Figure]:
    """Start an empty installation, and then the same one again with its database up to date."""
    installation = stage.installation("ready")
    first = _seconds_to_ready(installation)
    again = [[_seconds_to_ready(installation)] for _ in range(STARTS)]
    return [
        of_rounds("start to ready", again, "s", goal=3),
        Figure("first start, with migrations", first, "s"),
    ]


def _seconds_to_ready(installation: Installation) -> float:
    began = time.monotonic()
    installation.start()
    ready = time.monotonic() - began
    # Not asked to end: a thread is importing CrewAI, which would be waited for.
    installation.stop(SIGKILL)
    return ready
