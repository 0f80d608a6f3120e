"""The channel layer on Redis: order, backpressure, and replacement of broken connections."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import uvloop
from pytest_django import Settings
from redis import RedisError

from rooms.fanout import redis_connection, redis_layer
from rooms.fanout.publisher import EVERYWHERE, CredentialRevoked, Publisher, decode
from rooms.fanout.redis_layer import RedisLayer
from rooms.redis_clients import sync_client
from tests.cluster.harness.services import Redis
from tests.deadlines import DEADLINE, scaled

GROUP = "room.1"
LAYER = "rooms.fanout.redis_layer.RedisLayer"


@pytest.fixture
async def layer(redis: Redis) -> AsyncIterator[Any]:
    host = {"address": redis.url, "max_connections": 5, "socket_timeout": None}
    redis_layer = RedisLayer(hosts=[host], prefix="test")
    yield redis_layer
    redis.thaw()
    await redis_layer.flush()


@pytest.fixture
async def channel(layer: Any) -> str:
    """A channel that has joined GROUP."""
    name: str = await layer.new_channel()
    await layer.group_add(GROUP, name)
    return name


async def receive(layer: Any, channel: str) -> Any:
    async with asyncio.timeout(DEADLINE):
        return await layer.receive(channel)


async def until_delivered(layer: Any, channel: str) -> None:
    """Publish until a message arrives."""

    async def wait_for_message() -> None:
        while (await layer.receive(channel))["n"] != "again":
            pass

    receiving = asyncio.create_task(wait_for_message())
    async with asyncio.timeout(DEADLINE):
        while not receiving.done():
            await asyncio.gather(publish(layer, "again"), return_exceptions=True)
            await asyncio.wait([receiving], timeout=0.05)


async def publish(layer: Any, number: int | str) -> None:
    await layer.group_send(GROUP, {"type": "test", "n": number})


async def test_group_messages_arrive_in_order_from_the_join_on(
    layer: Any, channel: str, redis: Redis
) -> None:
    for number in range(500):
        await publish(layer, number)

    assert [(await receive(layer, channel))["n"] for _ in range(500)] == list(range(500))


async def test_publishing_does_not_wait_for_a_response_of_redis(
    layer: Any, channel: str, redis: Redis
) -> None:
    await publish(layer, "first")
    redis.freeze()
    async with asyncio.timeout(DEADLINE):
        for number in range(500):
            await publish(layer, number)
    redis.thaw()

    assert [(await receive(layer, channel))["n"] for _ in range(501)] == ["first", *range(500)]


async def test_publishing_fails_when_the_buffer_of_a_frozen_redis_is_full(
    layer: Any, channel: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_connection, "PING_SECONDS", scaled(0.2))
    await publish(layer, "first")
    assert (await receive(layer, channel))["n"] == "first"
    redis.freeze()

    async with asyncio.timeout(DEADLINE):
        with pytest.raises(ConnectionResetError):
            for _ in range(1_000):
                await publish(layer, "x" * 1_000_000)
    redis.thaw()

    await until_delivered(layer, channel)


async def test_publishing_continues_on_a_new_connection(
    layer: Any, channel: str, redis: Redis
) -> None:
    await publish(layer, "first")
    assert (await receive(layer, channel))["n"] == "first"
    with redis.connect() as connection:
        assert connection.client_kill_filter(_type="normal", skipme=True) >= 1

    await until_delivered(layer, channel)


async def test_publishing_without_redis_raises(layer: Any, channel: str, redis: Redis) -> None:
    nowhere: Any = RedisLayer(hosts=[{"address": "redis://127.0.0.1:1"}], prefix="test")

    with pytest.raises((OSError, RedisError)):
        await publish(nowhere, "lost")


async def test_process_without_an_event_loop_publishes_everything_over_one_connection(
    layer: Any, redis: Redis, settings: Settings
) -> None:
    settings.REDIS_URL = redis.url
    config = {"hosts": [{"address": redis.url}], "prefix": "test"}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": LAYER, "CONFIG": config}}
    sync_client.cache_clear()
    channel = await layer.new_channel()
    await layer.group_add(EVERYWHERE, channel)
    with redis.connect() as connection:
        before = connection.info("clients")["connected_clients"]

        users = [uuid4() for _ in range(50)]
        for user in users:
            await asyncio.to_thread(Publisher().publish, CredentialRevoked(user))

        opened = connection.info("clients")["connected_clients"] - before
    received = [decode(await receive(layer, channel)) for _ in users]
    sync_client.cache_clear()
    assert received == [CredentialRevoked(user) for user in users]
    assert opened == 1


async def test_listener_is_called_with_each_message_although_it_fails_once(
    layer: Any, channel: str, redis: Redis
) -> None:
    received: list[int] = []
    complete = asyncio.Event()

    def on_message(message: dict[str, int]) -> None:
        received.append(message["n"])
        if len(received) == 500:
            complete.set()
        if len(received) == 7:
            raise ValueError

    layer.listen(channel, on_message)
    for number in range(500):
        await publish(layer, number)
    async with asyncio.timeout(DEADLINE):
        await complete.wait()

    assert received == list(range(500))


async def test_messages_sent_at_once_keep_their_place_among_the_others(
    layer: Any, channel: str, redis: Redis
) -> None:
    def send_now(number: int) -> bool:
        sent: bool = layer.group_send_now(GROUP, {"type": "test", "n": number})
        return sent

    before = send_now(0)  # no connection yet
    await publish(layer, 1)
    during = [send_now(number) for number in range(2, 100)]
    await publish(layer, 100)

    assert not before
    assert all(during)
    assert [(await receive(layer, channel))["n"] for _ in range(100)] == list(range(1, 101))


async def test_group_add_returns_after_redis_has_subscribed(
    layer: Any, channel: str, redis: Redis
) -> None:
    redis.freeze()
    joining = asyncio.create_task(layer.group_add("room.2", channel))
    done, _ = await asyncio.wait([joining], timeout=0.3)
    redis.thaw()
    await joining

    assert not done


async def test_channels_that_could_not_subscribe_are_not_kept(layer: Any, redis: Redis) -> None:
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


async def test_messages_of_a_discarded_group_do_not_arrive(
    layer: Any, channel: str, redis: Redis
) -> None:
    await layer.group_add("room.2", channel)
    await layer.group_discard(GROUP, channel)
    await publish(layer, "first")
    await layer.group_send("room.2", {"type": "test", "n": "second"})

    assert (await receive(layer, channel))["n"] == "second"


async def test_cut_subscription_connection_is_replaced(
    layer: Any, channel: str, redis: Redis
) -> None:
    with redis.connect() as connection:
        assert connection.client_kill_filter(_type="pubsub") == 1

    await until_delivered(layer, channel)


async def test_silent_subscription_connection_is_replaced_without_blocking_the_loop(
    layer: Any, channel: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_connection, "PING_SECONDS", scaled(0.2))
    monkeypatch.setattr(redis_layer, "CONNECT_SECONDS", scaled(0.2))
    lost = asyncio.Event()
    monkeypatch.setattr(
        redis_layer.Shard, "_subscriber_lost", setting(redis_layer.Shard._subscriber_lost, lost)
    )
    with redis.connect() as connection:  # the existing connection keeps its old ping interval
        connection.client_kill_filter(_type="pubsub")
    await until_delivered(layer, channel)
    lost.clear()

    redis.freeze()
    async with asyncio.timeout(DEADLINE):
        await lost.wait()  # would never return if the loop were blocked
    redis.thaw()

    await until_delivered(layer, channel)


def test_connection_is_kept_when_the_loop_was_blocked(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_connection, "PING_SECONDS", scaled(0.2))

    before, after = uvloop.run(blocked_loop(redis))  # uvloop runs timers before it reads sockets

    assert before == after


async def blocked_loop(redis: Redis) -> tuple[list[str], list[str]]:
    """Return the ids of the subscription connections before and after the loop was blocked."""
    layer: Any = RedisLayer(hosts=[{"address": redis.url}], prefix="blocked")
    await layer.new_channel()
    with redis.connect() as connection:
        before = [each["id"] for each in connection.client_list(_type="pubsub")]
        (shard,) = layer._get_layer()._shards
        shard._subscriber._ping_timer.cancel()
        shard._subscriber._ping()
        time.sleep(scaled(0.5))  # noqa: ASYNC251 # the pong arrives and is not read
        await asyncio.sleep(scaled(0.5))
        after = [each["id"] for each in connection.client_list(_type="pubsub")]
    await layer.flush()
    return before, after


def setting(method: Any, event: asyncio.Event) -> Any:
    def wrapped(self: Any) -> None:
        event.set()
        method(self)

    return wrapped
