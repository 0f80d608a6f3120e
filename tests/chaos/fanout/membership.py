"""Members join and leave; a socket receives events only while its user is a member."""

import os
import re
import subprocess
import sys

from tests.chaos.target import Outcome
from tests.live import ROOT

STATE_MACHINE = "tests/rooms/fanout/test_membership.py"
SHOWN_LINES = 20


def check_deliveries(*, deliveries: int) -> Outcome:
    """Run the state machine and its controls until `deliveries` frames were delivered."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-n0",
            "-q",
            "-s",
            "-p",
            "no:cacheprovider",
            STATE_MACHINE,
        ],
        cwd=ROOT,
        env={**os.environ, "DELIVERIES": str(deliveries)},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"(\d+) deliveries\b", done.stdout)
    if done.returncode or found is None:
        return Outcome(violations=["\n".join(done.stdout.splitlines()[-SHOWN_LINES:])])
    return Outcome({"deliveries": int(found[1]), "deliveries to non-members": 0})
