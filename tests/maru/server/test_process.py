"""The life of the embedded server: started, set up, stopped, killed and started again."""

import asyncio
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import pytest
from websockets.exceptions import ConnectionClosed

from tests.live import PATIENCE, Frame, Installation, PopulatedRoom, Socket
from tests.maru.server.starting import break_crewai

PROMPTLY = 10.0
SERVICE_RESTART = 1012


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation that no other test uses: this one starts and ends it at will."""
    house = Installation(tmp_path_factory.mktemp("house"))
    yield house
    house.stop(signal.SIGKILL)


def status_after(house: Installation, how: signal.Signals) -> int:
    """Send a signal to the server; return the status with which it ends."""
    process = house.process
    assert process is not None
    house.stop(how)
    return process.returncode


async def events_up_to_the_answer(socket: Socket, room: PopulatedRoom) -> list[Frame]:
    """Return all durable events of the room, up to the end of its run."""
    snapshot = await socket.join(room.id, after=0)
    events: list[Frame] = snapshot["events"]
    if not any(event["type"] == "run.completed" for event in events):
        await socket.until_type("run.completed")
    return [*events, *(frame for frame in socket.frames if "seq" in frame)]


async def ends_when_told_to(house: Installation, socket: Socket) -> None:
    """The server ends at once, in good order, and its sockets know that it will be back."""
    begun = time.monotonic()
    ending = asyncio.create_task(asyncio.to_thread(status_after, house, signal.SIGTERM))
    with pytest.raises(ConnectionClosed) as closed:
        await socket.until_type("nothing more")
    status = await ending
    seconds = time.monotonic() - begun

    assert (status, seconds < PROMPTLY) == (0, True)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == SERVICE_RESTART


async def test_what_was_acknowledged_survives_a_kill_and_an_answer_begins_anew(
    house: Installation,
) -> None:
    house.start()
    first_link = house.setup_link()
    room = house.populate()[0]
    member = room.members[1]
    texts = [f"note {uuid4()}" for _ in range(20)]

    async with house.socket(member) as socket:
        await socket.join(room.id)
        for text in texts:
            await socket.say(room.id, text, personas=[])
        asked = await socket.say(room.id, "Are you there?")
        await socket.until_type("message.delta")
        house.stop(signal.SIGKILL)
    house.start()
    async with house.socket(member) as socket:
        events = await events_up_to_the_answer(socket, room)
        await ends_when_told_to(house, socket)

    posted = [e["message"]["text"] for e in events if e["type"] == "message.created"]
    assert posted[: len(texts)] == texts
    (run,) = asked["result"]["runs"]
    attempts = [e["run"]["attempt"] for e in events if e["type"] == "run.started"]
    (completed,) = (e["run"] for e in events if e["type"] == "run.completed")
    assert attempts == [1, 2]
    assert (completed["id"], completed["attempt"]) == (run, 2)
    deltas = [f for f in socket.of_type("message.delta") if f["attempt"] == 2]
    (answer,) = (e["message"] for e in events if e["type"] == "message.completed")
    assert "".join(delta["text"] for delta in deltas).rstrip() == answer["text"]

    # Nobody has set it up: each of the two starts has printed a link of its own, and no more.
    links = house.output.splitlines()
    assert [line.startswith("Set up Maru") for line in links] == [True, True]
    assert [first_link in line for line in links] == [True, False]


def test_a_server_that_has_lost_a_part_of_itself_ends_and_does_not_look_alive(
    house: Installation,
) -> None:
    house.env |= break_crewai(house.folder)
    house.start()
    process = house.process
    assert process is not None

    (house.folder / "go").touch()

    assert process.wait(PATIENCE) == 1
    assert "companion.ended" in house.output


def test_start_after_the_set_up_writes_nothing_and_says_where_it_is(house: Installation) -> None:
    house.manage("bootstrap", "--email", "owner@example.com", "--team", "Team")

    # Whatever migrated again, or wrote anything else, would fail now.
    with closing(sqlite3.connect(house.folder / "var" / "maru.sqlite3")) as other:
        other.execute("BEGIN IMMEDIATE")
        house.start()

    assert status_after(house, signal.SIGINT) == 0
    assert house.output == f"Maru is at {house.url}\n"
