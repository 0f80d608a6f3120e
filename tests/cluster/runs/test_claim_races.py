"""Who claims a run has it alone, and what is delivered again changes nothing."""

from pathlib import Path

from tests.chaos.runs.claim_races import race_for_runs
from tests.cluster.harness.services import Postgres, Redis


def test_of_all_who_claim_a_run_at_once_one_gets_it_and_answers_once(
    tmp_path: Path, postgres: Postgres, redis: Redis
) -> None:
    outcome = race_for_runs(tmp_path, postgres, redis, races=40, claimants=4)

    assert outcome.complaints == []
    assert outcome.figures["jobs delivered again"] > 40
