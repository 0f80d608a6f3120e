"""Answers leave nothing behind in the worker that gave them."""

from tests.chaos.growth import answer_many
from tests.chaos.stage import Stage

SLACK = 12
"""Connections and threads that a pool has opened and not given up yet; a leak is one an answer."""


async def test_worker_holds_no_more_after_many_answers(stage: Stage) -> None:
    outcome = await answer_many(stage, warm=120, runs=120, at_once=30)

    assert outcome.complaints == []
    assert outcome.figures["threads more, most"] <= SLACK
    assert outcome.figures["file descriptors more, most"] <= SLACK
    assert outcome.figures["RSS grown by, most (MB)"] <= 50
