"""Workers are killed in mid-answer, and nobody who asked is left without an end."""

from tests.chaos.runs.worker_faults import kill_workers
from tests.chaos.target import Stage


async def test_every_question_ends_once_though_workers_are_killed(stage: Stage) -> None:
    outcome = await kill_workers(stage, prompts=80, kills=2, at_once=40)

    assert outcome.complaints == []
    assert outcome.figures["taken over"] >= 3
    assert outcome.figures["answers compared"] > 0
