"""The channel layer of the production profile: channels-redis, which listens by an ear of ours.

Listening is what a web process does most. redis-py spends a timer, a retry and a dozen coroutines
on each message, and takes the kernel's word that a connection has died for a pause in it: it would
ask that connection again and again, for ever, without a turn for anybody else. Here redis-py makes
the connection (address, password, TLS); from then on one protocol reads it.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

import hiredis
import structlog
from channels_redis.pubsub import (  # type: ignore[import-untyped]  # it has no types
    RedisPubSubChannelLayer,
    RedisPubSubLoopLayer,
    RedisSingleShardConnection,
)
from channels_redis.utils import create_pool, decode_hosts  # type: ignore[import-untyped]  # alike

log = structlog.get_logger(__name__)

CONNECT_SECONDS: Final = 5
RETRY_SECONDS: Final = 0.5
PING_SECONDS: Final = 2.0
UNANSWERED: Final = 2
GATHER_SECONDS: Final = 0.003
"""Between two reads: under load, what comes meanwhile is read at once and wakes nobody for each."""

Hear = Callable[[str, bytes], None]


class RedisLayer(RedisPubSubChannelLayer):  # type: ignore[misc]  # so its base is Any
    """channels-redis' layer; only what it hears comes another way."""

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


class Shard(RedisSingleShardConnection):  # type: ignore[misc]  # so its base is Any
    """One Redis: publishes through redis-py, listens through an `Ear`."""

    def __init__(self, host: dict[str, Any], layer: Any) -> None:
        super().__init__(host, layer)
        self._ear = Ear(host, self._hear)

    async def subscribe(self, channel: str) -> None:
        await self._ear.subscribe(channel)

    async def unsubscribe(self, channel: str) -> None:
        await self._ear.unsubscribe(channel)

    async def flush(self) -> None:
        await self._ear.close()
        await super().flush()

    def _hear(self, channel: str, data: bytes) -> None:
        self._receive_message({"channel": channel, "data": data})


class Ear:
    """Listens to names, over whatever connection there is now; a lost one is replaced.

    What is published meanwhile is not heard: that is what a channel layer may do.
    """

    def __init__(self, host: dict[str, Any], hear: Hear) -> None:
        self._host = host
        self._hear = hear
        self._names: set[str] = set()
        self._line: Line | None = None
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
        if self._line is not None:
            self._line.unsubscribe(name)

    async def close(self) -> None:
        """Let go of everything."""
        self._names.clear()
        if self._replacing is not None:
            self._replacing.cancel()
        if self._line is not None:
            await self._line.close()

    async def _connected(self) -> "Line":
        async with self._connecting:
            if self._line is None:
                async with asyncio.timeout(CONNECT_SECONDS):
                    self._line = await _connect(self._host, self._hear, self._lost)
                self._line.ask_for(self._names)
            return self._line

    def _lost(self) -> None:
        self._line = None
        if self._names and (self._replacing is None or self._replacing.done()):
            self._replacing = asyncio.create_task(self._replace())

    async def _replace(self) -> None:
        """Connect again, as often as it takes."""
        while self._line is None:
            try:
                await self._connected()
            except Exception as error:  # whatever it is, without a connection nothing is heard
                log.warning("layer.away", error=type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)


async def _connect(host: dict[str, Any], hear: Hear, lost: Callable[[], None]) -> "Line":
    """Have redis-py connect, and take over what it reads."""
    connection = create_pool(host).make_connection()
    try:
        await connection.connect()
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    line = Line(connection, hear, lost)
    transport = connection._writer.transport  # noqa: SLF001 # redis-py does not hand it out
    transport.set_protocol(line)
    line.connection_made(transport)
    return line


class Line(asyncio.Protocol):
    """A connection that is subscribed to names.

    It is asked for a sign of life every few seconds: one that was cut without a word looks like one
    on which nothing is said.
    """

    def __init__(self, connection: Any, hear: Hear, lost: Callable[[], None]) -> None:
        self._connection = connection  # redis-py closes what it does not hold any more
        self._hear = hear
        self._lost = lost
        self._reader = hiredis.Reader()
        self._waiting: dict[bytes, asyncio.Future[bool]] = {}
        self._unanswered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # StreamReader's, too, is none
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(PING_SECONDS, self._look)

    def data_received(self, data: bytes) -> None:
        self._unanswered = 0
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self._take(reply)
        except hiredis.ProtocolError:
            log.exception("layer.unreadable")
            self._transport.abort()
            return
        self._transport.pause_reading()
        self._loop.call_later(GATHER_SECONDS, self._read_on)

    def connection_lost(self, error: Exception | None) -> None:
        self._timer.cancel()
        for waiting in self._waiting.values():
            waiting.set_result(False)
        log.warning("layer.lost", error=type(error).__name__)
        self._release = self._loop.create_task(self._connection.disconnect(nowait=True))
        self._lost()

    def ask_for(self, names: Iterable[str]) -> None:
        """Ask to be brought what is published under these names."""
        if names := list(names):
            self._transport.write(_command("SUBSCRIBE", *names))

    async def subscribed(self, name: str) -> None:
        """Ask for a name and return once Redis says yes; ConnectionResetError if it never does."""
        waiting = self._waiting.setdefault(name.encode(), self._loop.create_future())
        self.ask_for([name])
        if not await asyncio.shield(waiting):
            raise ConnectionResetError

    def unsubscribe(self, name: str) -> None:
        """Ask for a name no more."""
        self._transport.write(_command("UNSUBSCRIBE", name))

    async def close(self) -> None:
        """Drop the connection."""
        self._transport.abort()
        await self._connection.disconnect(nowait=True)

    def _read_on(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _take(self, reply: Any) -> None:
        match reply:
            case [b"message", name, data]:
                self._hear(name.decode(), data)
            case [b"subscribe", name, _count]:
                if (waiting := self._waiting.pop(name, None)) is not None:
                    waiting.set_result(True)
            case hiredis.ReplyError():
                log.error("layer.refused", error=str(reply).partition(" ")[0])
                self._transport.abort()

    def _look(self) -> None:
        # One may be a process that was held up itself: its timers go before what it has not read.
        if self._unanswered == UNANSWERED:
            self._transport.abort()
            return
        self._unanswered += 1
        self._transport.write(_command("PING"))
        self._timer = self._loop.call_later(PING_SECONDS, self._look)


def _command(*words: str) -> bytes:
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # means one word by it
    return packed
