"""Many rooms stream from the same two workers, and each room receives only its own answers."""

from tests.chaos.runs.isolation import stream_in_many_rooms
from tests.chaos.target import LONG, Target, ask
from tests.cluster.harness.recording_client import gather_or_cancel


async def test_each_room_receives_its_own_answers_completely_and_no_others(target: Target) -> None:
    outcome = await stream_in_many_rooms(target, prompts=100, concurrency=50)

    assert outcome.violations == []
    assert outcome.figures["answers compared"] > 0
    assert outcome.figures["chunks of the provider"] >= 100 * 40


async def test_asker_gets_answers_to_commands_while_the_answer_streams(target: Target) -> None:
    async with target.clients() as clients:
        asked = await gather_or_cancel(ask(client, LONG) for client in clients.all)
        for one in asked:
            await one.until_streaming()
            await one.client.command("ping")
        streaming = [one.run not in one.client.timeline.ended for one in asked]
        await gather_or_cancel(one.until_ended() for one in asked)

    assert any(streaming)
