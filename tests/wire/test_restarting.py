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
from tests.wire.house import House, Tab, streamed
from tests.wire.timeline import Timeline

WHOLE = " ".join(f"t{n}" for n in range(300))


@pytest.fixture(scope="module")
def own(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """An installation that a test may end."""
    folder = tmp_path_factory.mktemp("own")
    with Installation(folder, MARU_EGRESS_ALLOW=provider.address) as installation:
        yield House(installation, provider)


@pytest.fixture(scope="module")
def own_room(own: House) -> PopulatedRoom:
    return own.populate(1, 2, "tokens-300@100")[0]


async def hear_some(tab: Tab, timeline: Timeline, room: PopulatedRoom) -> str:
    """Ask, and follow the answer until some of its text has come; return the run."""
    timeline.apply(await tab.join(room.id))
    run = await tab.ask(room.id, "tokens-300@100")
    for frame in tab.of_run(run):
        timeline.apply(frame)
    while len(streamed(tab.of_run(run))) < 60:
        timeline.apply(await tab.receive())
    return run


async def hear_the_end(tab: Tab, timeline: Timeline) -> int | None:
    """Follow until the server closes the socket; return the code."""
    with suppress(ConnectionClosed):
        while True:
            timeline.apply(await tab.receive())
    return tab.connection.close_code


async def hear_the_rest(own: House, room: PopulatedRoom, timeline: Timeline) -> None:
    """Come back with what one has, and follow until nothing is open any more."""
    async with own.tab(room.members[0]) as tab, asyncio.timeout(DEADLINE):
        timeline.apply(await tab.command("room.join", room=room.id, **timeline.join()))
        while timeline.runs:
            timeline.apply(await tab.receive())
            assert not timeline.hole


async def test_server_that_stops_in_order_says_so_and_loses_no_answer(
    own: House, own_room: PopulatedRoom
) -> None:
    timeline = Timeline()
    async with own.tab(own_room.members[0]) as tab:
        run = await hear_some(tab, timeline, own_room)
        stopping = asyncio.create_task(asyncio.to_thread(own.installation.stop))
        code = await hear_the_end(tab, timeline)
        await stopping
    await asyncio.to_thread(own.installation.start)
    await hear_the_rest(own, own_room, timeline)

    ended = timeline.ended[run]
    assert code == 1012
    assert ended.stored == WHOLE
    assert ended.stored.startswith(ended.assembled.rstrip())


async def test_server_that_is_killed_takes_the_answer_up_again(
    own: House, own_room: PopulatedRoom
) -> None:
    timeline = Timeline()
    async with own.tab(own_room.members[0]) as tab:
        run = await hear_some(tab, timeline, own_room)
        own.installation.stop(signal.SIGKILL)
        await hear_the_end(tab, timeline)
    (before,) = [one.attempt for one in timeline.growing.values()]
    await asyncio.to_thread(own.installation.start)
    await hear_the_rest(own, own_room, timeline)

    ended = timeline.ended[run]
    assert ended.attempt == before + 1
    assert ended.heard_to_the_end
    assert ended.assembled.rstrip() == ended.stored == WHOLE
