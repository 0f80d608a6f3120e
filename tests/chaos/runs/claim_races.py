"""Several workers after the same run, and a job that comes more than once: RUN-04, RUN-05."""

import json
import subprocess
import sys
from pathlib import Path

from tests.chaos.target import Outcome
from tests.cluster.harness import oracle
from tests.cluster.harness import stored_state as book
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.services import Postgres, Redis
from tests.live import ROOT


def race_for_runs(
    folder: Path, postgres: Postgres, redis: Redis, *, races: int, claimants: int
) -> Outcome:
    """Put one run in line after the other, and have all claim it at the same moment.

    No worker and no web process is there: the claimants are threads of one process, each with a
    connection of its own, which call what a worker calls.
    """
    cluster = Cluster(folder, postgres, redis, webs=1, workers=0)
    cluster.prepare()
    (room,) = cluster.populate(1, 1)
    book.watch(postgres)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.chaos.runs.claim_threads",
            room.id,
            str(races),
            str(claimants),
        ],
        cwd=ROOT,
        env=cluster.webs[0].env,
        stdout=subprocess.PIPE,
        check=True,
    )
    said = json.loads(done.stdout)
    complaints = said["complaints"] + oracle.complaints(book.read(postgres, [room.id]))
    return Outcome({"races": races, "claimants": claimants, **said["figures"]}, complaints)
