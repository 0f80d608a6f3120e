"""Workers are killed in the middle of answers."""

from tests.chaos.runs.worker_faults import kill_workers
from tests.chaos.target import Target


async def test_each_run_ends_once_although_workers_are_killed(target: Target) -> None:
    outcome = await kill_workers(target, prompts=80, kills=2, concurrency=40)

    assert outcome.violations == []
    assert outcome.figures["taken over"] >= 3
    assert outcome.figures["answers compared"] > 0
