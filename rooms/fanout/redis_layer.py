"""The channel layer of the production profile: channels-redis 4.3 on our own Redis connections.

These are all changes to `channels_redis.pubsub`. Review each of them before an upgrade:

- `RedisPubSubChannelLayer._get_layer` hard-codes its class for one event loop. It is replaced by a
  method that creates a `LoopLayer`. The original also wraps `loop.close` in order to flush; here
  the connections end with the process.
- `RedisPubSubChannelLayer.serialize` and `deserialize` use msgspec for the same format
  (MessagePack), because it takes half of the time.
- `RedisPubSubChannelLayer.listen` is new. The hub takes a message when it arrives, instead of from
  a queue in another task.
- `RedisPubSubChannelLayer.group_send_now` is new. It writes to an open connection without a task,
  a lock or a timeout for each message.
- `RedisPubSubChannelLayer.group_send_blocking` is new. A management command has no event loop that
  outlives one call, and the layer keeps a connection for each event loop.
- `RedisPubSubLoopLayer.__init__` hard-codes its connection class as well. The shards are replaced.
- `RedisPubSubLoopLayer._subscribe_to_channel` keeps its queue when SUBSCRIBE fails. The hub asks
  for a new channel each second while Redis is unavailable, and each of these queues would stay in
  memory.
- `RedisSingleShardConnection.publish`, `subscribe`, `unsubscribe` and `flush` use redis-py's
  client and `PubSub`: see `rooms.fanout.redis_connection` for the reasons against it. `Shard`
  replaces all methods of this class.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec
import structlog
from channels_redis.pubsub import (  # type: ignore[import-untyped]  # it has no types
    RedisPubSubChannelLayer,
    RedisPubSubLoopLayer,
    RedisSingleShardConnection,
)
from channels_redis.utils import decode_hosts  # type: ignore[import-untyped]  # it has no types

from rooms.fanout.redis_connection import PublisherConnection, SubscriberConnection, connect
from rooms.redis_clients import sync_client

log = structlog.get_logger(__name__)

OnMessage = Callable[[Any], None]

CONNECT_SECONDS: Final = 5
RETRY_SECONDS: Final = 0.5

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder()


class RedisLayer(RedisPubSubChannelLayer):  # type: ignore[misc]  # its base is Any
    """The layer of a process."""

    def serialize(self, message: dict[str, Any]) -> bytes:
        return _encoder.encode(message)

    def deserialize(self, message: bytes) -> Any:
        return _decoder.decode(message)

    def listen(self, channel: str, on_message: OnMessage) -> None:
        """Pass each message of a channel of this process to `on_message`; `receive` gets none.

        `on_message` is called on the event loop; its exceptions are logged.
        """
        self._get_layer().listeners[channel] = on_message

    def group_send_now(self, group: str, message: dict[str, Any]) -> bool:
        """Send a message to a group; return False if `group_send` must be awaited instead.

        That is so while the connection is not open, and above its high-water mark.
        """
        layer = self._get_layer()
        channel = layer._get_group_channel_name(group)  # noqa: SLF001 # as in its `group_send`
        publisher = layer._get_shard(channel).open_publisher  # noqa: SLF001
        return publisher is not None and publisher.publish_now(channel, self.serialize(message))

    def group_send_blocking(self, group: str, message: dict[str, Any]) -> None:
        """Send a message to a group from a thread without an event loop.

        Raises RedisError or OSError if Redis is unavailable.
        """
        channel = f"{self._kwargs['prefix']}__group__{group}"  # as in `_get_group_channel_name`
        sync_client().publish(channel, self.serialize(message))

    def _get_layer(self) -> Any:
        loop = asyncio.get_running_loop()
        if loop not in self._layers:
            self._layers[loop] = LoopLayer(*self._args, **self._kwargs, channel_layer=self)
        return self._layers[loop]


class LoopLayer(RedisPubSubLoopLayer):  # type: ignore[misc]  # its base is Any
    """The layer of one event loop."""

    def __init__(self, hosts: Any = None, **options: Any) -> None:
        super().__init__(hosts, **options)
        self._shards = [Shard(host, self) for host in decode_hosts(hosts)]
        self.listeners: dict[str, OnMessage] = {}  # by channel

    async def _subscribe_to_channel(self, channel: str) -> None:
        try:
            await super()._subscribe_to_channel(channel)
        except BaseException:
            self.channels.pop(channel, None)
            raise


class Shard(RedisSingleShardConnection):  # type: ignore[misc]  # its base is Any
    """One Redis server: a connection that publishes and one that is subscribed.

    Both are opened when they are needed. A lost subscriber connection is replaced at once; messages
    that are published in between are lost, which a channel layer may do.
    """

    def __init__(self, host: dict[str, Any], layer: Any) -> None:
        super().__init__(host, layer)
        self._channels: set[str] = set()  # of the subscriber connection
        self._subscriber: SubscriberConnection | None = None
        self._subscriber_lock = asyncio.Lock()
        self._reconnecting: asyncio.Task[None] | None = None
        self._publisher: PublisherConnection | None = None
        self._publisher_lock = asyncio.Lock()

    async def publish(self, channel: str, message: bytes) -> None:
        """Publish in call order; raise RedisError or OSError if Redis is unavailable."""
        async with self._publisher_lock:
            if self._publisher is None:
                make = partial(PublisherConnection, on_lost=self._publisher_lost)
                async with asyncio.timeout(CONNECT_SECONDS):
                    self._publisher = await connect(self.host, make)
            await self._publisher.publish(channel, message)

    @property
    def open_publisher(self) -> PublisherConnection | None:
        """The connection that publishes; None while it is not open and while `publish` waits."""
        return None if self._publisher_lock.locked() else self._publisher

    async def subscribe(self, channel: str) -> None:
        """Return once Redis has confirmed the subscription.

        Raises RedisError or OSError if Redis is unavailable; then the channel is not subscribed.
        """
        subscriber = await self._connected_subscriber()
        await subscriber.subscribe(channel)
        self._channels.add(channel)

    async def unsubscribe(self, channel: str) -> None:
        """Unsubscribe without waiting for Redis."""
        self._channels.discard(channel)
        if self._subscriber is not None:
            self._subscriber.unsubscribe(channel)

    async def flush(self) -> None:
        """Close both connections and remove all channels."""
        self._channels.clear()
        if self._reconnecting is not None:
            self._reconnecting.cancel()
        for connection in (self._subscriber, self._publisher):
            if connection is not None:
                await connection.close()

    async def _connected_subscriber(self) -> SubscriberConnection:
        """Return the subscriber connection; open it, with all its channels, if there is none."""
        async with self._subscriber_lock:
            if self._subscriber is None:
                make = partial(
                    SubscriberConnection,
                    on_lost=self._subscriber_lost,
                    on_message=self._deliver,
                )
                async with asyncio.timeout(CONNECT_SECONDS):
                    self._subscriber = await connect(self.host, make)
                self._subscriber.send_subscribe(self._channels)
            return self._subscriber

    def _deliver(self, channel: bytes, message: bytes) -> None:
        """Pass a message to the channel, or to the channels of the group, with that name."""
        name, layer = channel.decode(), self.channel_layer
        for receiver in layer.groups.get(name, (name,)):
            if (on_message := layer.listeners.get(receiver)) is not None:
                try:
                    on_message(_decoder.decode(message))
                except Exception:  # it would close the connection
                    log.exception("layer.message_failed")
            elif receiver in layer.channels:
                layer.channels[receiver].put_nowait(message)

    def _publisher_lost(self) -> None:
        self._publisher = None

    def _subscriber_lost(self) -> None:
        self._subscriber = None
        if self._channels and (self._reconnecting is None or self._reconnecting.done()):
            self._reconnecting = asyncio.create_task(self._reconnect())

    async def _reconnect(self) -> None:
        while self._subscriber is None:
            try:
                await self._connected_subscriber()
            except Exception as error:  # of any kind: without a connection nothing is received
                log.warning("layer.away", error=type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)
