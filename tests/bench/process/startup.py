"""Time from `python -m maru.server` to the first 200 of /healthz, in both profiles."""

import time
from signal import SIGKILL
from typing import Final

from tests.bench.report.figures import Figure, of_rounds
from tests.bench.resources import Resources
from tests.cluster.harness.services import missing_packages
from tests.live import Installation, NewInstallation

STARTS: Final = 3
WEB: Final = "start of a production web process to first response"


def measure(resources: Resources) -> list[Figure]:
    """Start an empty installation, the same again, and a web process of the production profile."""
    (resources.folder / "ready").mkdir()
    installation = NewInstallation(resources.folder / "ready", TMPDIR=str(resources.folder))
    first = _seconds_to_response(installation)
    again = [[_seconds_to_response(installation)] for _ in range(STARTS)]
    figures = [
        of_rounds("start to first response", again, "s", goal=3),
        Figure("first start, with migrations", first, "s"),
    ]
    if absent := missing_packages():
        return [*figures, Figure(WEB, None, "s", 2, note=f"not installed: {', '.join(absent)}")]
    web = resources.production("ready-web")
    _seconds_to_response(web)  # the first start writes bytecode
    starts = [[_seconds_to_response(web)] for _ in range(STARTS)]
    return [*figures, of_rounds(WEB, starts, "s", goal=2)]


def _seconds_to_response(installation: Installation) -> float:
    began = time.monotonic()
    installation.start()
    seconds = time.monotonic() - began
    # SIGKILL, because a clean stop would wait for the thread that imports CrewAI.
    installation.stop(SIGKILL)
    return seconds
