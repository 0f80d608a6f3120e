"""The rate limit of a connection, and the end of a connection that ignores it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from pytest_django import Settings
from websockets.exceptions import ConnectionClosed

from accounts.models import User
from rooms.fanout.credentials import Credential
from rooms.fanout.hub import RoomHub
from rooms.socket import consumer
from rooms.socket.consumer import RoomsConsumer
from rooms.socket.token_bucket import BURST, MAX_REFUSED, PER_SECOND, TokenBucket
from tests.deadlines import DEADLINE
from tests.live import Installation
from tests.rooms.fanout.doubles import FakeStore

PING = {"type": "websocket.receive", "text": '{"type":"ping","ref":"1"}'}


def new_scope() -> dict[str, Any]:
    """Return the scope of a connection with a hub of its own."""
    user = User(name="Member")
    state = {"hub": RoomHub(InMemoryChannelLayer(), FakeStore().source())}
    scope = {"user": user, "credential": Credential(user.pk), "language": "en", "state": state}
    return {**scope, "subprotocol": "maru.v1"}


class FakeClock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_burst_passes_and_the_next_command_must_wait() -> None:
    bucket = TokenBucket(FakeClock())

    taken = [bucket.take() for _ in range(BURST + 1)]

    assert taken == [None] * BURST + [1]


def test_commands_at_the_permitted_rate_are_never_refused() -> None:
    clock = FakeClock()
    bucket = TokenBucket(clock)
    for _ in range(BURST):
        bucket.take()

    for _ in range(1_000):
        clock.seconds += 1 / PER_SECOND + 1e-9
        assert bucket.take() is None


def test_bucket_is_flooded_after_more_than_the_maximum_of_refusals() -> None:
    clock = FakeClock()
    bucket = TokenBucket(clock)
    for _ in range(BURST + MAX_REFUSED):
        bucket.take()
    assert not bucket.is_flooded

    bucket.take()

    assert bucket.is_flooded


def test_refusals_are_forgotten_when_the_bucket_has_refilled() -> None:
    clock = FakeClock()
    bucket = TokenBucket(clock)
    for _ in range(BURST + MAX_REFUSED):
        bucket.take()
    clock.seconds += 60
    assert bucket.take() is None

    for _ in range(BURST):
        bucket.take()

    assert not bucket.is_flooded


async def test_burst_of_one_client_does_not_starve_other_tasks() -> None:
    burst = [PING] * BURST
    incoming = iter([{"type": "websocket.connect"}, *burst, {"type": "websocket.disconnect"}])
    turns = 0

    async def receive() -> object:
        return next(incoming)  # every frame has arrived already: no await suspends

    async def send(message: object) -> None:
        """Discard the answers."""

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(count_turns())
    await RoomsConsumer()(new_scope(), receive, send)
    other.cancel()

    assert turns >= BURST


async def test_frames_behind_a_refused_one_wait_in_the_transport(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RATE_LIMITS = True
    monkeypatch.setattr(consumer, "REFUSED_SECONDS", 3_600)
    refused, read = asyncio.Event(), 0

    async def receive() -> object:
        nonlocal read
        read += 1
        return PING if read > 1 else {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        if "rate_limited" in message.get("text", ""):
            refused.set()

    consuming = asyncio.create_task(RoomsConsumer()(new_scope(), receive, send))
    async with asyncio.timeout(DEADLINE):
        await refused.wait()
    for _ in range(10):  # turns of the event loop, in each of which a frame would be read
        await asyncio.sleep(0)
    consuming.cancel()

    assert read == 1 + BURST + 1


async def test_flooding_connection_is_refused_then_closed_and_others_continue(
    tmp_path: Path,
) -> None:
    with Installation(tmp_path, MARU_RATE_LIMITS="on") as limited:
        (room,) = limited.populate(rooms=1, members=2)
        async with (
            limited.socket(room.members[0]) as flooding,
            limited.socket(room.members[1]) as other,
        ):
            with pytest.raises(ConnectionClosed) as closed:
                for number in range(10 * (BURST + MAX_REFUSED)):
                    frame = {"type": "ping", "ref": str(number)}
                    await flooding.connection.send(json.dumps(frame))
                    await flooding.receive()
            answer = await other.command("ping")

    refused = flooding.of_type("command.refused")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4429
    assert {frame["code"] for frame in refused} == {"rate_limited"}
    assert all(frame["retry_after"] >= 1 for frame in refused)
    assert answer["type"] == "command.done"
