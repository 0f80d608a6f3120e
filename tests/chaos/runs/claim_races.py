"""Several workers claim the same run, and a job is completed more than once."""

import json
import subprocess
import sys
from pathlib import Path

from tests.chaos.target import Outcome
from tests.cluster.harness import oracle, stored_state
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.services import Postgres, Redis
from tests.live import ROOT


def race_for_runs(
    folder: Path, postgres: Postgres, redis: Redis, *, races: int, threads: int
) -> Outcome:
    """Queue one run after the other and claim each in all threads of one process at once.

    No worker and no web process is running, so the threads are the only claimers.
    """
    cluster = Cluster(folder, postgres, redis, webs=1, workers=0)
    cluster.prepare()
    (room,) = cluster.populate(1, 1)
    stored_state.record_transitions(postgres)
    module = "tests.chaos.runs.claim_threads"
    done = subprocess.run(
        [sys.executable, "-m", module, room.id, str(races), str(threads)],
        cwd=ROOT,
        env=cluster.webs[0].env,
        stdout=subprocess.PIPE,
        check=True,
    )
    printed = json.loads(done.stdout)
    stored = stored_state.read_state(postgres, [room.id])
    figures = {"races": races, "claiming threads": threads, **printed["figures"]}
    return Outcome(figures, printed["violations"] + oracle.violations(stored))
