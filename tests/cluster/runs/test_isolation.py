"""Many rooms stream from the same two workers, and none hears a word of another."""

from tests.chaos.runs.isolation import mix_canaries
from tests.chaos.target import LONG, Stage, ask
from tests.cluster.harness.recording_client import together


async def test_every_room_hears_its_own_answers_whole_and_nothing_else(stage: Stage) -> None:
    outcome = await mix_canaries(stage, prompts=100, at_once=50)

    assert outcome.complaints == []
    assert outcome.figures["answers compared"] > 0
    assert outcome.figures["chunks of the provider"] >= 100 * 40


async def test_whoever_asked_is_answered_in_everything_else_while_the_answer_is_said(
    stage: Stage,
) -> None:
    async with stage.audience() as gathered:
        asked = await together(ask(witness, LONG) for witness in gathered.everybody)
        for one in asked:
            await one.begun()
            await one.witness.command("ping")
        still_said = [one.run not in one.witness.timeline.ended for one in asked]
        await together(one.ended() for one in asked)

    assert any(still_said)
