"""The embedded server process: start, set-up, stop, kill and restart."""

import asyncio
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import pytest
from websockets.exceptions import ConnectionClosed

from tests.deadlines import DEADLINE, scaled
from tests.live import Frame, Installation, PopulatedRoom, Socket
from tests.maru.server.starting import break_crewai

PROMPTLY = scaled(10)
SERVICE_RESTART = 1012


@pytest.fixture
def own_installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation of this test only, which the test starts and stops."""
    own_installation = Installation(tmp_path_factory.mktemp("installation"))
    yield own_installation
    own_installation.stop(signal.SIGKILL)


def status_after(own_installation: Installation, how: signal.Signals) -> int:
    """Send a signal to the server and return its exit status."""
    process = own_installation.process
    assert process is not None
    own_installation.stop(how)
    return process.returncode


async def events_until_completed(socket: Socket, room: PopulatedRoom) -> list[Frame]:
    """Return all durable events of the room, up to the end of its run."""
    snapshot = await socket.join(room.id, after=0)
    events: list[Frame] = snapshot["events"]
    if not any(event["type"] == "run.completed" for event in events):
        await socket.until_type("run.completed")
    return [*events, *(frame for frame in socket.frames if "seq" in frame)]


async def assert_graceful_shutdown(own_installation: Installation, socket: Socket) -> None:
    """Stop the server; it must exit with 0 promptly and close the socket with 1012."""
    started_at = time.monotonic()
    ending = asyncio.create_task(asyncio.to_thread(status_after, own_installation, signal.SIGTERM))
    with pytest.raises(ConnectionClosed) as closed:
        await socket.until_type("nothing more")
    status = await ending
    seconds = time.monotonic() - started_at

    assert (status, seconds < PROMPTLY) == (0, True)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == SERVICE_RESTART


async def test_acknowledged_messages_survive_a_kill_and_the_answer_restarts(
    own_installation: Installation,
) -> None:
    own_installation.start()
    first_link = own_installation.setup_link()
    room = own_installation.populate()[0]
    member = room.members[1]
    texts = [f"note {uuid4()}" for _ in range(20)]

    async with own_installation.socket(member) as socket:
        await socket.join(room.id)
        for text in texts:
            await socket.say(room.id, text, personas=[])
        question = await socket.say(room.id, "Are you there?")
        await socket.until_type("message.delta")
        own_installation.stop(signal.SIGKILL)
    own_installation.start()
    async with own_installation.socket(member) as socket:
        events = await events_until_completed(socket, room)
        await assert_graceful_shutdown(own_installation, socket)

    posted = [e["message"]["text"] for e in events if e["type"] == "message.created"]
    assert posted[: len(texts)] == texts
    (run,) = question["result"]["runs"]
    attempts = [e["run"]["attempt"] for e in events if e["type"] == "run.started"]
    (completed,) = (e["run"] for e in events if e["type"] == "run.completed")
    assert attempts == [1, 2]
    assert (completed["id"], completed["attempt"]) == (run, 2)
    deltas = [f for f in socket.of_type("message.delta") if f["attempt"] == 2]
    (answer,) = (e["message"] for e in events if e["type"] == "message.completed")
    assert "".join(delta["text"] for delta in deltas).rstrip() == answer["text"]

    # Without an account, each of the two starts prints only one set-up link.
    links = [line for line in own_installation.output.splitlines() if "/setup/" in line]
    assert [line.startswith("http://") for line in links] == [True, True]
    assert [first_link in line for line in links] == [True, False]


def test_server_exits_if_a_background_task_fails(
    own_installation: Installation,
) -> None:
    own_installation.env |= break_crewai(own_installation.folder)
    own_installation.start()
    process = own_installation.process
    assert process is not None

    (own_installation.folder / "go").touch()

    assert process.wait(DEADLINE) == 1
    assert "companion.ended" in own_installation.output


def test_start_after_the_set_up_writes_nothing_and_prints_the_address(
    own_installation: Installation,
) -> None:
    own_installation.manage("bootstrap", "--email", "owner@example.com", "--team", "Team")

    # The lock makes any write during the start fail, for example a migration.
    with closing(sqlite3.connect(own_installation.folder / "var" / "maru.sqlite3")) as other:
        other.execute("BEGIN IMMEDIATE")
        own_installation.start()

    assert status_after(own_installation, signal.SIGINT) == 0
    printed = [line for line in own_installation.output.splitlines() if " [info " not in line]
    assert printed == [f"Maru runs at {own_installation.url}"]
