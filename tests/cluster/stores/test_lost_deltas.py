"""Redis has forgotten the deltas of an answer: the log has what counts, and all hear the same."""

from contextlib import AsyncExitStack

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.live import PopulatedRoom, Socket
from tests.provider import Provider
from tests.wire.timeline import Timeline

HELD, STREAMED = "held-12@60", "tokens-300@40"
WHOLE = " ".join(f"t{number}" for number in range(24))


@pytest.fixture(scope="module")
def room(cluster: Cluster, provider: Provider) -> PopulatedRoom:
    models = ("--model", HELD, "--model", STREAMED)
    return cluster.populate(1, 2, "--provider", provider.base_url, *models)[0]


async def ask(asker: Socket, room: PopulatedRoom, model: str) -> str:
    """Ask the persona of a model; return the run."""
    joined = await asker.join(room.id)
    (persona,) = (p["id"] for p in joined["state"]["personas"] if p["handle"] == model)
    done = await asker.say(room.id, "Go on.", personas=[persona])
    (run,) = done["result"]["runs"]
    return str(run)


async def hear(socket: Socket, timeline: Timeline, words: int) -> None:
    """Apply what comes until so many words of the answer are there."""
    while not any(len(one.text.split()) >= words for one in timeline.growing.values()):
        timeline.apply(await socket.receive())


def forget(cluster: Cluster) -> None:
    with cluster.redis.connect() as beside:
        beside.flushall()


async def test_answer_that_has_ended_is_told_by_the_log_when_its_deltas_are_gone(
    cluster: Cluster, room: PopulatedRoom, provider: Provider
) -> None:
    here, there = cluster.webs
    timeline = Timeline()
    async with AsyncExitStack() as stack:
        asker = await stack.enter_async_context(here.socket(room.members[0]))
        async with here.socket(room.members[1]) as cut:
            timeline.apply(await cut.join(room.id))
            run = await ask(asker, room, HELD)
            await hear(cut, timeline, 12)
        provider.release()
        await asker.until_type("run.completed")
        forget(cluster)

        back = await stack.enter_async_context(there.socket(room.members[1]))
        again = await back.command("room.join", room=room.id, **timeline.join())
        timeline.apply(again)
        afresh = await back.join(room.id)

    assert (again["complete"], again["live"]) == (True, [])
    assert timeline.ended[run].stored == WHOLE
    assert (afresh["complete"], afresh["live"]) == (False, [])
    assert afresh["state"]["messages"][-1]["text"] == WHOLE
    assert afresh["state"]["runs"] == []


async def test_stop_after_everything_was_forgotten_keeps_what_the_worker_has_told_since(
    cluster: Cluster, room: PopulatedRoom
) -> None:
    """The worker tells all of it again with its next delta."""
    async with AsyncExitStack() as stack:
        asker, other = [
            await stack.enter_async_context(web.socket(person))
            for web, person in zip(cluster.webs, room.members, strict=True)
        ]
        timeline = Timeline()
        timeline.apply(await other.join(room.id))
        run = await ask(asker, room, STREAMED)
        await hear(other, timeline, 5)
        forget(cluster)
        (growing,) = timeline.growing.values()
        await hear(other, timeline, len(growing.text.split()) + 5)
        shown = growing.text
        await asker.command("run.cancel", run=run)
        while run not in timeline.ended:
            timeline.apply(await other.receive())

    ended = timeline.ended[run]
    assert len(shown.split()) >= 10
    assert ended.stored.startswith(shown.rstrip())


async def test_stop_in_the_moment_in_which_nothing_is_known_tells_all_that_nothing_is_kept(
    cluster: Cluster, room: PopulatedRoom, provider: Provider
) -> None:
    """What is kept and what each room shows must be the same, be it less than was shown."""
    async with AsyncExitStack() as stack:
        asker, other = [
            await stack.enter_async_context(web.socket(person))
            for web, person in zip(cluster.webs, room.members, strict=True)
        ]
        timeline = Timeline()
        timeline.apply(await other.join(room.id))
        run = await ask(asker, room, HELD)
        await hear(other, timeline, 12)
        forget(cluster)
        done = await asker.command("run.cancel", run=run)
        while run not in timeline.ended:
            timeline.apply(await other.receive())
        afresh = await other.join(room.id)
        provider.release()

    (told,) = (f["message"] for f in other.of_type("message.updated") if f["message"]["run"] == run)
    assert done["type"] == "command.done"
    assert told["status"] == "cancelled"
    assert told == afresh["state"]["messages"][-1]
    assert timeline.ended[run].stored == told["text"]
