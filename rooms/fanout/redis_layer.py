"""The channel layer of the production profile: channels-redis over two connections of our own.

One listens and one speaks, and each is replaced when it is lost: see
`rooms.fanout.redis_connection`.
"""

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import structlog
from channels_redis.pubsub import (  # type: ignore[import-untyped]  # it has no types
    RedisPubSubChannelLayer,
    RedisPubSubLoopLayer,
    RedisSingleShardConnection,
)
from channels_redis.utils import decode_hosts  # type: ignore[import-untyped]  # alike

from rooms.fanout.redis_connection import (
    OnMessage,
    PublisherConnection,
    SubscriberConnection,
    connect,
)

log = structlog.get_logger(__name__)

CONNECT_SECONDS: Final = 5
RETRY_SECONDS: Final = 0.5


class RedisLayer(RedisPubSubChannelLayer):  # type: ignore[misc]  # so its base is Any
    """channels-redis' layer; only how it speaks to Redis is another."""

    def waiting(self, channel: str) -> Iterator[dict[str, Any]]:
        """Yield what has come for a channel that is listened to, without waiting for more."""
        queue = self._get_layer().channels[channel]
        while not queue.empty():
            yield self.deserialize(queue.get_nowait())

    def _get_layer(self) -> Any:
        loop = asyncio.get_running_loop()
        if loop not in self._layers:
            self._layers[loop] = LoopLayer(*self._args, **self._kwargs, channel_layer=self)
        return self._layers[loop]


class LoopLayer(RedisPubSubLoopLayer):  # type: ignore[misc]  # so its base is Any
    """The layer as one loop has it."""

    def __init__(self, hosts: Any = None, **options: Any) -> None:
        super().__init__(hosts, **options)
        self._shards = [Shard(host, self) for host in decode_hosts(hosts)]

    async def _subscribe_to_channel(self, channel: str) -> None:
        """Keep nothing of a channel that could not be opened: whoever asks again gets another."""
        try:
            await super()._subscribe_to_channel(channel)
        except BaseException:
            self.channels.pop(channel, None)
            raise


class Shard(RedisSingleShardConnection):  # type: ignore[misc]  # so its base is Any
    """One Redis: an ear and a mouth."""

    def __init__(self, host: dict[str, Any], layer: Any) -> None:
        super().__init__(host, layer)
        self._subscriber = RedisSubscriber(host, self._hear)
        self._publisher = RedisPublisher(host)

    async def publish(self, channel: str, message: bytes) -> None:
        await self._publisher.publish(channel, message)

    async def subscribe(self, channel: str) -> None:
        await self._subscriber.subscribe(channel)

    async def unsubscribe(self, channel: str) -> None:
        await self._subscriber.unsubscribe(channel)

    async def flush(self) -> None:
        await self._subscriber.close()
        await self._publisher.close()

    def _hear(self, channel: str, data: bytes) -> None:
        self._receive_message({"channel": channel, "data": data})


class RedisPublisher:
    """Publishes, over whatever connection there is now."""

    def __init__(self, host: dict[str, Any]) -> None:
        self._host = host
        self._connection: PublisherConnection | None = None
        self._connecting = asyncio.Lock()

    async def publish(self, name: str, data: bytes) -> None:
        """Publish data under a name, in the order of the calls.

        Raises RedisError or OSError while Redis is away.
        """
        async with self._connecting:
            if self._connection is None:
                async with asyncio.timeout(CONNECT_SECONDS):
                    self._connection = await connect(
                        self._host, partial(PublisherConnection, lost=self._lost)
                    )
            await self._connection.publish(name, data)

    async def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            await self._connection.close()

    def _lost(self) -> None:
        self._connection = None


class RedisSubscriber:
    """Listens to names, over whatever connection there is now; a lost one is replaced.

    What is published meanwhile is not heard: that is what a channel layer may do.
    """

    def __init__(self, host: dict[str, Any], hear: OnMessage) -> None:
        self._host = host
        self._hear = hear
        self._names: set[str] = set()
        self._connection: SubscriberConnection | None = None
        self._connecting = asyncio.Lock()
        self._replacing: asyncio.Task[None] | None = None

    async def subscribe(self, name: str) -> None:
        """Listen to a name from now on; returns once Redis says that it does.

        Raises RedisError or OSError while Redis is away, and then the name is not listened to.
        """
        line = await self._connected()
        await line.subscribed(name)
        self._names.add(name)

    async def unsubscribe(self, name: str) -> None:
        """Listen to a name no more."""
        self._names.discard(name)
        if self._connection is not None:
            self._connection.unsubscribe(name)

    async def close(self) -> None:
        """Let go of everything."""
        self._names.clear()
        if self._replacing is not None:
            self._replacing.cancel()
        if self._connection is not None:
            await self._connection.close()

    async def _connected(self) -> SubscriberConnection:
        async with self._connecting:
            if self._connection is None:
                async with asyncio.timeout(CONNECT_SECONDS):
                    made = partial(SubscriberConnection, lost=self._lost, hear=self._hear)
                    self._connection = await connect(self._host, made)
                self._connection.ask_for(self._names)
            return self._connection

    def _lost(self) -> None:
        self._connection = None
        if self._names and (self._replacing is None or self._replacing.done()):
            self._replacing = asyncio.create_task(self._replace())

    async def _replace(self) -> None:
        """Connect again, as often as it takes."""
        while self._connection is None:
            try:
                await self._connected()
            except Exception as error:  # whatever it is, without a connection nothing is heard
                log.warning("layer.away", error=type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)
