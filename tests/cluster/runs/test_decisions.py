"""Decisions on tool calls on PostgreSQL, where people, workers and stops really meet."""

import json
import subprocess
import sys
from pathlib import Path

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.services import Postgres, Redis
from tests.live import ROOT

ROUNDS = 24


def test_one_of_two_decisions_counts_and_no_run_waits_for_a_decided_call(
    tmp_path: Path, postgres: Postgres, redis: Redis
) -> None:
    cluster = Cluster(tmp_path, postgres, redis, webs=1, workers=0)
    cluster.prepare()

    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster.runs.concurrent_decisions", str(ROUNDS)],
        cwd=ROOT,
        env={**cluster.webs[0].env, "DJANGO_SETTINGS_MODULE": "maru.settings"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    for number, result in enumerate(results):
        decisions = [each for each in result["accepted"] if each != "lease lost"]
        call = {"allow": "allowed", "deny": "denied"}
        if number % 3 == 2:
            assert result["run"] == "cancelled"
            assert result["call"] == "denied"
            assert len(decisions) <= 1
        else:
            assert len(decisions) == 1, result
            assert result == {
                "accepted": decisions,
                "run": "queued",
                "call": call[decisions[0]],
                "resumed": 1,
            }
    assert {each for result in results for each in result["accepted"]} >= {"allow", "deny"}
