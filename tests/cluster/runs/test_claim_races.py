"""A run is claimed by one worker, and a repeated completion changes nothing."""

from pathlib import Path

from tests.chaos.runs.claim_races import race_for_runs
from tests.cluster.harness.services import Postgres, Redis


def test_one_of_several_simultaneous_claims_succeeds_and_the_run_completes_once(
    tmp_path: Path, postgres: Postgres, redis: Redis
) -> None:
    outcome = race_for_runs(tmp_path, postgres, redis, races=40, threads=4)

    assert outcome.violations == []
    assert outcome.figures["completions tried"] > 40
