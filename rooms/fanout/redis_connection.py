"""Redis connections for pub/sub and for deltas, on asyncio protocols and hiredis.

redis-py opens a connection (address, password, TLS, HELLO); after that, a protocol of this module
reads and writes it. redis-py's own `PubSub` is not used for three reasons:

- It uses a dozen coroutines, a timer and a retry loop for each message.
- It publishes a message only after the reply to the previous message: one round trip each.
- It treats the kernel's report of a dead connection as a pause without messages, and then reads
  the connection in a loop that never yields to the event loop.

The protocol is RESP (https://redis.io/docs/latest/develop/reference/protocol-spec/).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar, cast

import hiredis
import structlog
from channels_redis.utils import create_pool  # type: ignore[import-untyped]  # it has no types
from redis.asyncio.sentinel import SentinelConnectionPool

log = structlog.get_logger(__name__)

PING_SECONDS: Final = 2.0
UNANSWERED_PINGS: Final = 2
REQUEST_SECONDS: Final = 2.0
BATCH_SECONDS: Final = 0.003
"""Seconds between two reads under load. Messages that arrive in between are read together."""
BUSY_SECONDS: Final = 0.02
"""A connection is under load if two reads are less than this many seconds apart."""

OnMessage = Callable[[bytes, bytes], None]
C = TypeVar("C", bound="RedisConnection")


class RedisConnection(asyncio.Protocol):
    """An open connection to Redis. `on_lost` is called once, when it ends.

    It sends a PING every PING_SECONDS, because a peer that is dead cannot be distinguished from a
    peer that is silent.
    """

    def __init__(self, connection: Any, on_lost: Callable[[], None]) -> None:
        self._connection = connection  # kept, because redis-py closes it in its destructor
        self._on_lost = on_lost
        self._reader = hiredis.Reader()
        self._unanswered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # BaseTransport cannot write
        self._loop = asyncio.get_running_loop()
        self._ping_timer = self._loop.call_later(PING_SECONDS, self._ping)

    def data_received(self, data: bytes) -> None:
        self._unanswered = 0
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self._reply_received(reply)
        except hiredis.ProtocolError:
            log.exception("layer.unreadable")
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._ping_timer.cancel()
        log.warning("layer.lost", error=type(error).__name__)
        self._release = self._loop.create_task(self._connection.disconnect(nowait=True))
        self._on_lost()

    async def close(self) -> None:
        """Close the connection at once."""
        self._transport.abort()
        await self._connection.disconnect(nowait=True)

    def _reply_received(self, reply: Any) -> None:
        """End the connection on an error reply; ignore the others (PONG, numbers of receivers)."""
        if isinstance(reply, hiredis.ReplyError):
            log.error("layer.refused", error=str(reply).partition(" ")[0])
            self._transport.abort()

    def _ping(self) -> None:
        # After the process was suspended, its timers run before it reads the replies that have
        # arrived. One unanswered PING therefore does not prove that the connection is dead; two do.
        if self._unanswered == UNANSWERED_PINGS:
            self._transport.abort()
            return
        self._unanswered += 1
        self._transport.write(_command("PING"))
        self._ping_timer = self._loop.call_later(PING_SECONDS, self._ping)


class SubscriberConnection(RedisConnection):
    """A connection that receives the messages of its channels.

    `on_message(channel, message)` must not raise.
    """

    def __init__(self, connection: Any, on_lost: Callable[[], None], on_message: OnMessage) -> None:
        super().__init__(connection, on_lost)
        self._on_message = on_message
        self._confirmations: dict[bytes, asyncio.Future[bool]] = {}
        self._read_at = 0.0

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        read_at, self._read_at = self._read_at, self._loop.time()
        # A lone message is not worth a timer and two changes of the poll set.
        if self._read_at - read_at < BUSY_SECONDS and not self._transport.is_closing():
            self._transport.pause_reading()
            self._loop.call_later(BATCH_SECONDS, self._resume_reading)

    def connection_lost(self, error: Exception | None) -> None:
        for confirmation in self._confirmations.values():
            confirmation.set_result(False)
        super().connection_lost(error)

    def send_subscribe(self, channels: Iterable[str]) -> None:
        """Send SUBSCRIBE without waiting for the confirmations."""
        if channels := list(channels):
            self._transport.write(_command("SUBSCRIBE", *channels))

    async def subscribe(self, channel: str) -> None:
        """Return once Redis has confirmed the subscription.

        Raises ConnectionResetError if the connection ends before.
        """
        confirmation = self._confirmations.setdefault(channel.encode(), self._loop.create_future())
        self.send_subscribe([channel])
        if not await asyncio.shield(confirmation):
            raise ConnectionResetError

    def unsubscribe(self, channel: str) -> None:
        """Send UNSUBSCRIBE without waiting for the confirmation."""
        self._transport.write(_command("UNSUBSCRIBE", channel))

    def _resume_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _reply_received(self, reply: Any) -> None:
        match reply:
            case [b"message", channel, data]:
                self._on_message(channel, data)
            case [b"subscribe", channel, _count]:
                if (confirmation := self._confirmations.pop(channel, None)) is not None:
                    confirmation.set_result(True)
            case _:
                super()._reply_received(reply)


class PublisherConnection(RedisConnection):
    """A connection that publishes and does not wait for the replies.

    Messages that Redis has not read when the connection ends are lost, which a channel layer may
    do.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._writable.set()
        super().connection_lost(error)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def publish(self, channel: str, data: bytes) -> None:
        """Write PUBLISH. Waits only while the write buffer is above its high-water mark.

        Raises ConnectionResetError if the connection has ended.
        """
        await self._writable.wait()
        if self._transport.is_closing():
            raise ConnectionResetError
        self._transport.write(_command("PUBLISH", channel, data))

    def publish_now(self, channel: str, data: bytes) -> bool:
        """Write PUBLISH and return True, unless `publish` would wait or raise."""
        if self._transport.is_closing() or not self._writable.is_set():
            return False
        self._transport.write(_command("PUBLISH", channel, data))
        return True


class RequestConnection(RedisConnection):
    """A connection whose requests are written at once; their replies arrive in the same order."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._waiting: deque[tuple[int, list[Any], asyncio.Future[list[Any]]]] = deque()

    def connection_lost(self, error: Exception | None) -> None:
        for _count, _replies, waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(ConnectionResetError())
        super().connection_lost(error)

    @property
    def is_open(self) -> bool:
        """False once the connection has ended or ends."""
        return not self._transport.is_closing()

    async def request(self, *commands: tuple[str | bytes, ...]) -> list[Any]:
        """Send commands in one write and return their replies, errors as `hiredis.ReplyError`.

        Raises ConnectionResetError if the connection ends before, and TimeoutError after
        REQUEST_SECONDS.
        """
        if not self.is_open:
            raise ConnectionResetError
        waiter: asyncio.Future[list[Any]] = self._loop.create_future()
        self._waiting.append((len(commands), [], waiter))
        self._transport.write(b"".join(_command(*words) for words in commands))
        async with asyncio.timeout(REQUEST_SECONDS):
            return await waiter

    def _reply_received(self, reply: Any) -> None:
        if reply == b"PONG":  # no command of a request has this reply
            return
        count, replies, waiter = self._waiting[0]
        replies.append(reply)
        if len(replies) == count:
            self._waiting.popleft()
            if not waiter.done():  # it is cancelled at a timeout
                waiter.set_result(replies)


async def connect(host: dict[str, Any], make: Callable[[Any], C]) -> C:
    """Open a connection to a host of channels-redis, for the protocol made by `make`."""
    pool = create_pool(host)  # kept until the end: a connection of Sentinel refers to it weakly
    try:
        return await open_for(pool.make_connection(), make)
    finally:
        if isinstance(pool, SentinelConnectionPool):
            for sentinel in pool.sentinel_manager.sentinels:
                await sentinel.aclose()


async def open_for(connection: Any, make: Callable[[Any], C]) -> C:
    """Open a connection of redis-py and hand its transport to the protocol made by `make`."""
    try:
        await connection.connect()
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    protocol = make(connection)
    transport = connection._writer.transport  # noqa: SLF001 # redis-py has no public name for it
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    return protocol


def _command(*words: str | bytes) -> bytes:
    """Return a command as a RESP array of bulk strings."""
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub is too narrow
    return packed
