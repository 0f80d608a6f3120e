"""Members come and go, and each socket hears its intervals, very many times over: TEN-03."""

import os
import re
import subprocess
import sys

from tests.chaos.target import Outcome
from tests.live import ROOT

MACHINE = "tests/rooms/fanout/test_intervals.py"
LAST_LINES = 20


def hear_intervals(*, deliveries: int) -> Outcome:
    """Run the state machine, and its controls, until so many frames were delivered."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n0", "-q", "-s", "-p", "no:cacheprovider", MACHINE],
        cwd=ROOT,
        env={**os.environ, "DELIVERIES": str(deliveries)},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"(\d+) deliveries, none of them", done.stdout)
    if done.returncode or found is None:
        return Outcome(complaints=["\n".join(done.stdout.splitlines()[-LAST_LINES:])])
    return Outcome({"deliveries": int(found[1]), "to somebody who was not in the room": 0})
