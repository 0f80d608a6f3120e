"""The server ends in mid-answer, in order or not; clients come back and miss nothing."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed

from tests.deadlines import DEADLINE
from tests.live import Installation, PopulatedRoom
from tests.provider import Provider
from tests.wire.server import Server, WireClient, streamed
from tests.wire.timeline import Timeline

WHOLE = " ".join(f"t{n}" for n in range(300))


@pytest.fixture(scope="module")
def own(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An installation that a test may end."""
    folder = tmp_path_factory.mktemp("own")
    with Installation(folder, MARU_EGRESS_ALLOW=provider.address) as installation:
        yield Server(installation, provider)


@pytest.fixture(scope="module")
def own_room(own: Server) -> PopulatedRoom:
    return own.populate(1, 2, "tokens-300@100")[0]


async def hear_some(client: WireClient, timeline: Timeline, room: PopulatedRoom) -> str:
    """Ask, and follow the answer until some of its text has come; return the run."""
    timeline.apply(await client.join(room.id))
    run = await client.ask(room.id, "tokens-300@100")
    for frame in client.of_run(run):
        timeline.apply(frame)
    while len(streamed(client.of_run(run))) < 60:
        timeline.apply(await client.receive())
    return run


async def hear_the_end(client: WireClient, timeline: Timeline) -> int | None:
    """Follow until the server closes the socket; return the code."""
    with suppress(ConnectionClosed):
        while True:
            timeline.apply(await client.receive())
    return client.connection.close_code


async def hear_the_rest(own: Server, room: PopulatedRoom, timeline: Timeline) -> None:
    """Come back with what one has, and follow until nothing is open any more."""
    async with own.client(room.members[0]) as client, asyncio.timeout(DEADLINE):
        timeline.apply(await client.command("room.join", room=room.id, **timeline.join()))
        while timeline.runs:
            timeline.apply(await client.receive())
            assert not timeline.gap


async def test_server_that_stops_in_order_says_so_and_loses_no_answer(
    own: Server, own_room: PopulatedRoom
) -> None:
    timeline = Timeline()
    async with own.client(own_room.members[0]) as client:
        run = await hear_some(client, timeline, own_room)
        stopping = asyncio.create_task(asyncio.to_thread(own.installation.stop))
        code = await hear_the_end(client, timeline)
        await stopping
    await asyncio.to_thread(own.installation.start)
    await hear_the_rest(own, own_room, timeline)

    ended = timeline.ended[run]
    assert code == 1012
    assert ended.stored == WHOLE
    assert ended.stored.startswith(ended.assembled.rstrip())


async def test_server_that_is_killed_takes_the_answer_up_again(
    own: Server, own_room: PopulatedRoom
) -> None:
    timeline = Timeline()
    async with own.client(own_room.members[0]) as client:
        run = await hear_some(client, timeline, own_room)
        own.installation.stop(signal.SIGKILL)
        await hear_the_end(client, timeline)
    (before,) = [one.attempt for one in timeline.partial.values()]
    await asyncio.to_thread(own.installation.start)
    await hear_the_rest(own, own_room, timeline)

    ended = timeline.ended[run]
    assert ended.attempt == before + 1
    assert ended.received_to_the_end
    assert ended.assembled.rstrip() == ended.stored == WHOLE
