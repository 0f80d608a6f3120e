"""A cancelled answer stops on every client, and the connection to its provider is closed."""

from tests.chaos.runs.stops import cancel_runs
from tests.chaos.target import Target


async def test_answer_stops_after_any_token_when_its_run_is_cancelled(target: Target) -> None:
    outcome = await cancel_runs(target, stops=44, concurrency=16)

    assert outcome.violations == []
    assert outcome.figures["closed provider connections"] > 20
