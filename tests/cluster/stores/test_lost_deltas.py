"""Redis loses the deltas of an answer; the log has the text, and all clients agree on it."""

from contextlib import AsyncExitStack

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.room_sockets import RoomSockets, join_on_both
from tests.live import PopulatedRoom, Socket
from tests.provider import Provider
from tests.wire.timeline import Timeline

HELD, STREAMED = "held-12@60", "tokens-300@40"
WHOLE = " ".join(f"t{number}" for number in range(24))


@pytest.fixture(scope="module")
def room(cluster: Cluster, provider: Provider) -> PopulatedRoom:
    models = ("--model", HELD, "--model", STREAMED)
    return cluster.populate(1, 2, "--provider", provider.base_url, *models)[0]


async def receive_words(socket: Socket, timeline: Timeline, words: int) -> None:
    """Apply frames until the growing answer has `words` words."""
    while not any(len(one.text.split()) >= words for one in timeline.partial.values()):
        timeline.apply(await socket.receive())


async def receive_end(socket: Socket, timeline: Timeline, run: str) -> None:
    while run not in timeline.ended:
        timeline.apply(await socket.receive())


def flush(cluster: Cluster) -> None:
    with cluster.redis.connect() as connection:
        connection.flushall()


async def join_with_timeline(
    cluster: Cluster, room: PopulatedRoom, stack: AsyncExitStack
) -> tuple[RoomSockets, Timeline]:
    """Join on both web processes; the timeline has what the member received."""
    sockets = await join_on_both(cluster, room, stack)
    timeline = Timeline()
    timeline.apply(sockets.member.frames[-1])
    return sockets, timeline


async def test_ended_answer_is_read_from_the_log_when_its_deltas_are_lost(
    cluster: Cluster, room: PopulatedRoom, provider: Provider
) -> None:
    async with AsyncExitStack() as stack:
        sockets, timeline = await join_with_timeline(cluster, room, stack)
        run = await sockets.ask(HELD)
        await receive_words(sockets.member, timeline, 12)
        await sockets.member.connection.close()
        provider.release()
        await sockets.owner.until_type("run.completed")
        flush(cluster)

        member = await stack.enter_async_context(cluster.webs[0].socket(room.members[1]))
        resumed = await member.command("room.join", room=room.id, **timeline.join())
        timeline.apply(resumed)
        rejoined = await member.join(room.id)

    assert (resumed["complete"], resumed["live"]) == (True, [])
    assert timeline.ended[run].stored == WHOLE
    assert (rejoined["complete"], rejoined["live"]) == (False, [])
    assert rejoined["state"]["messages"][-1]["text"] == WHOLE
    assert rejoined["state"]["runs"] == []


async def test_cancelled_answer_keeps_the_text_that_the_worker_stored_again(
    cluster: Cluster, room: PopulatedRoom
) -> None:
    """The worker stores the whole text again with its next delta."""
    async with AsyncExitStack() as stack:
        sockets, timeline = await join_with_timeline(cluster, room, stack)
        run = await sockets.ask(STREAMED)
        await receive_words(sockets.member, timeline, 5)
        flush(cluster)
        (growing,) = timeline.partial.values()
        await receive_words(sockets.member, timeline, len(growing.text.split()) + 5)
        shown = growing.text
        await sockets.owner.command("run.cancel", run=run)
        await receive_end(sockets.member, timeline, run)

    ended = timeline.ended[run]
    assert len(shown.split()) >= 10
    assert ended.stored.startswith(shown.rstrip())


async def test_cancelled_answer_keeps_the_text_that_people_saw_although_its_deltas_are_lost(
    cluster: Cluster, room: PopulatedRoom, provider: Provider
) -> None:
    """The worker restores the text: only the worker has it when the delta store has lost it."""
    async with AsyncExitStack() as stack:
        sockets, timeline = await join_with_timeline(cluster, room, stack)
        run = await sockets.ask(HELD)
        await receive_words(sockets.member, timeline, 12)
        (shown,) = (answer.text for answer in timeline.partial.values())
        flush(cluster)
        done = await sockets.owner.command("run.cancel", run=run)
        await receive_end(sockets.member, timeline, run)
        while timeline.ended[run].stored != shown.rstrip():
            timeline.apply(await sockets.member.receive())
        rejoined = await sockets.member.join(room.id)
        provider.release()

    assert done["type"] == "command.done"
    assert rejoined["state"]["messages"][-1]["status"] == "cancelled"
    assert rejoined["state"]["messages"][-1]["text"] == shown.rstrip()
