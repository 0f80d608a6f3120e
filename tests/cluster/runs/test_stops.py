"""An answer that is stopped says no more, anywhere, and its provider is left."""

from tests.chaos.runs.stops import stop_answers
from tests.chaos.target import Stage


async def test_answers_are_stopped_between_any_two_deltas_for_good(stage: Stage) -> None:
    outcome = await stop_answers(stage, stops=44, at_once=16)

    assert outcome.complaints == []
    assert outcome.figures["connections closed"] > 20
