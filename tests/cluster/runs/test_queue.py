"""The run queue on PostgreSQL, where workers really claim at the same time."""

import json
import subprocess
import sys
from pathlib import Path

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.services import Postgres, Redis
from tests.live import ROOT

RUNS_PER_TEAM = 7


def test_workers_that_claim_at_the_same_moment_keep_the_quota_of_the_team(
    tmp_path: Path, postgres: Postgres, redis: Redis
) -> None:
    cluster = Cluster(tmp_path, postgres, redis, webs=1, workers=0, MARU_RATE_LIMITS="on")
    cluster.prepare()

    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster.runs.concurrent_claims", str(RUNS_PER_TEAM)],
        cwd=ROOT,
        env={**cluster.webs[0].env, "DJANGO_SETTINGS_MODULE": "maru.settings"},
        capture_output=True,
        text=True,
        check=True,
    )

    claimed = json.loads(done.stdout)["claimed"]
    assert len(claimed) == len(set(claimed)) == RUNS_PER_TEAM
