"""What is published is heard, whatever becomes of the connection that it is heard by."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvloop
from redis import RedisError

from rooms.fanout import redis_connection, redis_layer
from rooms.fanout.redis_layer import RedisLayer
from tests.cluster.harness.services import Redis
from tests.deadlines import DEADLINE, scaled

GROUP = "room.1"


@pytest.fixture
async def layer(redis: Redis) -> AsyncIterator[Any]:
    host = {"address": redis.url, "max_connections": 5, "socket_timeout": None}
    made = RedisLayer(hosts=[host], prefix="test")
    yield made
    redis.thaw()
    await made.flush()


@pytest.fixture
async def channel(layer: Any) -> str:
    """A channel that is in the group."""
    name: str = await layer.new_channel()
    await layer.group_add(GROUP, name)
    return name


async def hear(layer: Any, channel: str) -> Any:
    async with asyncio.timeout(DEADLINE):
        return await layer.receive(channel)


async def hear_again(layer: Any, channel: str) -> None:
    """Speak until it is heard."""

    async def listen() -> None:
        while (await layer.receive(channel))["n"] != "again":
            pass

    heard = asyncio.create_task(listen())
    async with asyncio.timeout(DEADLINE):
        while not heard.done():
            await asyncio.gather(speak(layer, "again"), return_exceptions=True)
            await asyncio.wait([heard], timeout=0.05)


async def speak(layer: Any, what: int | str) -> None:
    await layer.group_send(GROUP, {"type": "said", "n": what})


async def test_a_group_is_heard_in_order_from_the_moment_it_is_joined(
    layer: Any, channel: str, redis: Redis
) -> None:
    for number in range(500):
        await speak(layer, number)

    assert [(await hear(layer, channel))["n"] for _ in range(500)] == list(range(500))


async def test_nobody_waits_for_redis_to_answer(layer: Any, channel: str, redis: Redis) -> None:
    await speak(layer, "first")
    redis.freeze()
    async with asyncio.timeout(DEADLINE):
        for number in range(500):
            await speak(layer, number)
    redis.thaw()

    assert [(await hear(layer, channel))["n"] for _ in range(501)] == ["first", *range(500)]


async def test_what_redis_does_not_take_in_is_bounded_and_refused_in_the_end(
    layer: Any, channel: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_connection, "PING_SECONDS", scaled(0.2))
    await speak(layer, "first")
    assert (await hear(layer, channel))["n"] == "first"
    redis.freeze()

    async with asyncio.timeout(DEADLINE):
        with pytest.raises(ConnectionResetError):
            for _ in range(1_000):
                await speak(layer, "x" * 1_000_000)
    redis.thaw()

    await hear_again(layer, channel)


async def test_speaking_goes_on_over_another_connection(
    layer: Any, channel: str, redis: Redis
) -> None:
    await speak(layer, "first")
    assert (await hear(layer, channel))["n"] == "first"
    with redis.connect() as connection:
        assert connection.client_kill_filter(_type="normal", skipme=True) >= 1

    await hear_again(layer, channel)


async def test_whoever_speaks_while_redis_is_away_is_told(
    layer: Any, channel: str, redis: Redis
) -> None:
    nowhere: Any = RedisLayer(hosts=[{"address": "redis://127.0.0.1:1"}], prefix="test")

    with pytest.raises((OSError, RedisError)):
        await speak(nowhere, "lost")


async def test_what_has_come_together_is_taken_together(
    layer: Any, channel: str, redis: Redis
) -> None:
    for number in range(500):
        await speak(layer, number)

    heard: list[int] = []
    while len(heard) < 500:
        together = [await hear(layer, channel), *layer.receive_queued(channel)]
        heard += [message["n"] for message in together]

    assert heard == list(range(500))
    assert not list(layer.receive_queued(channel))


async def test_joining_returns_once_redis_listens(layer: Any, channel: str, redis: Redis) -> None:
    redis.freeze()
    joining = asyncio.create_task(layer.group_add("room.2", channel))
    done, _ = await asyncio.wait([joining], timeout=0.3)
    redis.thaw()
    await joining

    assert not done


async def test_nothing_is_kept_of_channels_that_could_not_be_opened(
    layer: Any, redis: Redis
) -> None:
    redis.stop()
    try:
        for _try in range(3):
            with pytest.raises(RedisError):
                await layer.new_channel()
        kept = len(layer.channels)
    finally:
        redis.start()
    name = await layer.new_channel()

    assert kept == 0
    assert list(layer.channels) == [name]


async def test_a_group_that_is_left_is_heard_no_more(
    layer: Any, channel: str, redis: Redis
) -> None:
    await layer.group_add("room.2", channel)
    await layer.group_discard(GROUP, channel)
    await speak(layer, "left")
    await layer.group_send("room.2", {"type": "said", "n": "there"})

    assert (await hear(layer, channel))["n"] == "there"


async def test_a_connection_that_is_cut_is_replaced(layer: Any, channel: str, redis: Redis) -> None:
    with redis.connect() as connection:
        assert connection.client_kill_filter(_type="pubsub") == 1

    await hear_again(layer, channel)


async def test_a_connection_that_falls_silent_is_replaced_and_holds_nobody_up(
    layer: Any, channel: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_connection, "PING_SECONDS", scaled(0.2))
    monkeypatch.setattr(redis_layer, "CONNECT_SECONDS", scaled(0.2))
    lost = asyncio.Event()
    monkeypatch.setattr(
        redis_layer.Shard,
        "_subscriber_lost",
        noting(redis_layer.Shard._subscriber_lost, lost),
    )
    with redis.connect() as connection:  # the one that is there has its old pace
        connection.client_kill_filter(_type="pubsub")
    await hear_again(layer, channel)
    lost.clear()

    redis.freeze()
    async with asyncio.timeout(DEADLINE):
        await lost.wait()  # the loop has turns for others, or this would never end
    redis.thaw()

    await hear_again(layer, channel)


def test_a_process_that_was_held_up_keeps_its_connection(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_connection, "PING_SECONDS", scaled(0.2))

    before, after = uvloop.run(held_up(redis))  # where timers go before what has come

    assert before == after


async def held_up(redis: Redis) -> tuple[list[str], list[str]]:
    """Return the connections that listen, before the loop stood still and after."""
    layer: Any = RedisLayer(hosts=[{"address": redis.url}], prefix="held")
    await layer.new_channel()
    with redis.connect() as connection:
        before = [each["id"] for each in connection.client_list(_type="pubsub")]
        (shard,) = layer._get_layer()._shards
        shard._subscriber._ping_timer.cancel()
        shard._subscriber._ping()
        time.sleep(scaled(0.5))  # noqa: ASYNC251 # the answer has come, and nobody has read it
        await asyncio.sleep(scaled(0.5))
        after = [each["id"] for each in connection.client_list(_type="pubsub")]
    await layer.flush()
    return before, after


def noting(method: Any, event: asyncio.Event) -> Any:
    def noted(self: Any) -> None:
        event.set()
        method(self)

    return noted
