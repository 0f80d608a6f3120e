"""The server stops or is killed during an answer; clients resume without a gap."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed

from tests.compact import BOTH
from tests.deadlines import DEADLINE
from tests.live import Installation, PopulatedRoom
from tests.provider import Provider
from tests.wire.server import Server, WireClient, streamed
from tests.wire.timeline import Timeline

WHOLE = " ".join(f"t{n}" for n in range(300))


@pytest.fixture(scope="module")
def own(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An installation that only these tests use: they stop and kill it."""
    folder = tmp_path_factory.mktemp("own")
    with Installation(folder, MARU_EGRESS_ALLOW=provider.address) as installation:
        yield Server(installation, provider)


@pytest.fixture(scope="module")
def own_room(own: Server) -> PopulatedRoom:
    return own.populate(1, 2, "tokens-300@100")[0]


async def receive_some(client: WireClient, timeline: Timeline, room: PopulatedRoom) -> str:
    """Ask, and apply frames until 60 characters of the answer have arrived; return the run."""
    timeline.apply(await client.join(room.id))
    run = await client.ask(room.id, "tokens-300@100")
    for frame in client.of_run(run):
        timeline.apply(frame)
    while len(streamed(client.of_run(run))) < 60:
        timeline.apply(await client.receive())
    return run


async def receive_until_closed(client: WireClient, timeline: Timeline) -> int | None:
    """Apply frames until the server closes the connection; return the close code."""
    with suppress(ConnectionClosed):
        while True:
            timeline.apply(await client.receive())
    return client.connection.close_code


async def receive_the_rest(own: Server, room: PopulatedRoom, timeline: Timeline) -> None:
    """Reconnect, resume, and apply frames until no run is open."""
    async with own.client(room.members[0], BOTH) as client, asyncio.timeout(DEADLINE):
        timeline.apply(await client.command("room.join", room=room.id, **timeline.join()))
        while timeline.runs:
            timeline.apply(await client.receive())
            assert not timeline.gap


async def test_stopped_server_closes_with_1012_and_keeps_the_answer(
    own: Server, own_room: PopulatedRoom
) -> None:
    timeline = Timeline()
    async with own.client(own_room.members[0]) as client:
        run = await receive_some(client, timeline, own_room)
        stopping = asyncio.create_task(asyncio.to_thread(own.installation.stop))
        code = await receive_until_closed(client, timeline)
        await stopping
    await asyncio.to_thread(own.installation.start)
    await receive_the_rest(own, own_room, timeline)

    ended = timeline.ended[run]
    assert code == 1012
    assert ended.stored == WHOLE
    assert ended.stored.startswith(ended.assembled.rstrip())


async def test_killed_server_restarts_the_answer(own: Server, own_room: PopulatedRoom) -> None:
    timeline = Timeline()
    async with own.client(own_room.members[0], BOTH) as client:
        run = await receive_some(client, timeline, own_room)
        own.installation.stop(signal.SIGKILL)
        await receive_until_closed(client, timeline)
    (before,) = [one.attempt for one in timeline.partial.values()]
    await asyncio.to_thread(own.installation.start)
    await receive_the_rest(own, own_room, timeline)

    ended = timeline.ended[run]
    assert ended.attempt == before + 1
    assert ended.received_to_the_end
    assert ended.assembled.rstrip() == ended.stored == WHOLE
