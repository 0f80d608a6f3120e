"""How fast one socket may ask, and what becomes of whoever asks faster."""

import asyncio
import json
from pathlib import Path

import pytest
from channels.layers import InMemoryChannelLayer
from websockets.exceptions import ConnectionClosed

from accounts.models import User
from rooms.fanout.credentials import Credential
from rooms.fanout.hub import RoomHub
from rooms.socket.consumer import RoomsConsumer
from rooms.socket.token_bucket import BURST, PATIENCE, PER_SECOND, Bucket
from tests.live import Installation
from tests.rooms.fanout.doubles import FakeStore


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_burst_passes_and_the_next_waits() -> None:
    bucket = Bucket(Clock())

    taken = [bucket.take() for _ in range(BURST + 1)]

    assert taken == [None] * BURST + [1]


def test_rate_is_kept_up_for_ever() -> None:
    clock = Clock()
    bucket = Bucket(clock)
    for _ in range(BURST):
        bucket.take()

    for _ in range(1_000):
        clock.seconds += 1 / PER_SECOND + 1e-9
        assert bucket.take() is None


def test_flood_is_called_one_after_much_patience() -> None:
    clock = Clock()
    bucket = Bucket(clock)
    for _ in range(BURST + PATIENCE):
        bucket.take()
    assert not bucket.is_flood

    bucket.take()

    assert bucket.is_flood


def test_patience_comes_back_with_calm() -> None:
    clock = Clock()
    bucket = Bucket(clock)
    for _ in range(BURST + PATIENCE):
        bucket.take()
    clock.seconds += 60
    assert bucket.take() is None

    for _ in range(BURST):
        bucket.take()

    assert not bucket.is_flood


async def test_who_says_much_at_once_keeps_nobody_waiting() -> None:
    said = [{"type": "websocket.receive", "text": '{"type":"ping","ref":"1"}'}] * BURST
    told = iter([{"type": "websocket.connect"}, *said, {"type": "websocket.disconnect"}])
    turns = 0

    async def receive() -> object:
        return next(told)  # all of it has come: nothing is waited for

    async def send(message: object) -> None:
        """Nobody looks."""

    async def somebody_else() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    user = User(name="Member")
    state = {"hub": RoomHub(InMemoryChannelLayer(), FakeStore().source())}
    scope = {"user": user, "credential": Credential(user.pk), "language": "en", "state": state}
    other = asyncio.create_task(somebody_else())
    await RoomsConsumer()(scope, receive, send)
    other.cancel()

    assert turns >= BURST


async def test_flooding_socket_is_told_and_then_closed_and_others_go_on(tmp_path: Path) -> None:
    with Installation(tmp_path, MARU_RATE_LIMITS="on") as limited:
        (room,) = limited.populate(rooms=1, members=2)
        async with (
            limited.socket(room.members[0]) as flooding,
            limited.socket(room.members[1]) as calm,
        ):
            with pytest.raises(ConnectionClosed) as closed:
                for number in range(10 * (BURST + PATIENCE)):
                    frame = {"type": "ping", "ref": str(number)}
                    await flooding.connection.send(json.dumps(frame))
                    await flooding.receive()
            still = await calm.command("ping")

    refused = flooding.of_type("command.refused")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4429
    assert {frame["code"] for frame in refused} == {"rate_limited"}
    assert all(frame["retry_after"] >= 1 for frame in refused)
    assert still["type"] == "command.done"
