"""Connections to Redis for what a process does most: listening, and publishing.

redis-py makes the connection (address, password, TLS); from then on a protocol of ours has it. On
each message redis-py spends a dozen coroutines, a timer and a retry, sends the next one only when
the last one is answered, and takes the kernel's word that a connection has died for a pause in it:
it would ask that connection again and again, for ever, without a turn for anybody else.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar, cast

import hiredis
import structlog
from channels_redis.utils import create_pool  # type: ignore[import-untyped]  # it has no types

log = structlog.get_logger(__name__)

PING_SECONDS: Final = 2.0
UNANSWERED: Final = 2
GATHER_SECONDS: Final = 0.003
"""Between two reads: under load, what comes meanwhile is read at once and wakes nobody for each."""

OnMessage = Callable[[str, bytes], None]
L = TypeVar("L", bound="RedisConnection")


class RedisConnection(asyncio.Protocol):
    """A connection, while it lasts; `lost` is called at its end.

    It is asked for a sign of life every few seconds: one that was cut without a word looks like one
    on which nothing is said.
    """

    def __init__(self, connection: Any, lost: Callable[[], None]) -> None:
        self._connection = connection  # redis-py closes what it does not hold any more
        self._lost = lost
        self._reader = hiredis.Reader()
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

    def connection_lost(self, error: Exception | None) -> None:
        self._timer.cancel()
        log.warning("layer.lost", error=type(error).__name__)
        self._release = self._loop.create_task(self._connection.disconnect(nowait=True))
        self._lost()

    async def close(self) -> None:
        """Drop the connection."""
        self._transport.abort()
        await self._connection.disconnect(nowait=True)

    def _take(self, reply: Any) -> None:
        """Take the next reply; those that refuse end the connection."""
        if isinstance(reply, hiredis.ReplyError):
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


class SubscriberConnection(RedisConnection):
    """A connection that is subscribed to names."""

    def __init__(self, connection: Any, lost: Callable[[], None], hear: OnMessage) -> None:
        super().__init__(connection, lost)
        self._hear = hear
        self._waiting: dict[bytes, asyncio.Future[bool]] = {}

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._transport.is_closing():
            self._transport.pause_reading()
            self._loop.call_later(GATHER_SECONDS, self._read_on)

    def connection_lost(self, error: Exception | None) -> None:
        for waiting in self._waiting.values():
            waiting.set_result(False)
        super().connection_lost(error)

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
            case _:
                super()._take(reply)


class PublisherConnection(RedisConnection):
    """A connection that publishes, and waits for no answer to it.

    What Redis has not taken in when it is lost is lost: that is what a channel layer may do.
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

    async def publish(self, name: str, data: bytes) -> None:
        """Publish; returns at once, or, where Redis is slow, once it has taken in most of it.

        Raises ConnectionResetError where it never will.
        """
        await self._writable.wait()
        if self._transport.is_closing():
            raise ConnectionResetError
        self._transport.write(_command("PUBLISH", name, data))


async def connect(host: dict[str, Any], made: Callable[[Any], L]) -> L:
    """Have redis-py connect, and hand over what it reads to the line that `made` returns."""
    connection = create_pool(host).make_connection()
    try:
        await connection.connect()
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    line = made(connection)
    transport = connection._writer.transport  # noqa: SLF001 # redis-py does not hand it out
    transport.set_protocol(line)
    line.connection_made(transport)
    return line


def _command(*words: str | bytes) -> bytes:
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # means one word by it
    return packed
