"""A client connection and its flush task."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol
from uuid import UUID

import structlog

from rooms.fanout.credentials import Credential
from rooms.fanout.transport import Frame, Transport, Writer

log = structlog.get_logger(__name__)

TOO_SLOW: Final = 4408
NO_STATUS: Final = 1005
"""No close frame with a code was received (RFC 6455 §7.1.5): the client went away."""
STUCK_SECONDS: Final = 10
"""A single write that takes longer than this closes the connection with TOO_SLOW."""
ABORT_SECONDS: Final = 15
"""Time for the closing handshake; afterwards the transport is aborted."""
BATCH_BYTES: Final = 65_536


class Subscriber(Protocol):
    """The methods of `rooms.fanout.delivery.Subscription` that a connection calls."""

    def go_live(self, writer: Writer) -> None:
        """Let the topic write to `writer`, if the subscription has received everything."""

    def lag(self) -> None:
        """Stop the topic's writes; from now on the flush task calls `next_frame`."""

    def next_frame(self) -> Frame | None:
        """Return the next unsent frame or None; raise IndexError if the ring has dropped it."""


class Connection:
    """One client connection, a WebSocket or an event stream (SSE). Runs on the event loop.

    While no flush task runs, frames are written at once: `send` writes frames for this connection
    only, and the topics write the frames of rooms. `flush` starts the task; see
    `rooms.fanout.delivery.Subscription`.
    """

    __slots__ = (
        "_close_transport",
        "_closing",
        "_flushing",
        "_queue",
        "_transport",
        "close_code",
        "closed",
        "credential",
        "is_compact",
        "subscriptions",
    )

    def __init__(
        self,
        credential: Credential,
        transport: Transport,
        close: Callable[[int], Coroutine[Any, Any, None]],
        *,
        is_compact: bool = False,
    ) -> None:
        """`is_compact`: the client gets deltas in the form of `rooms.protocol.compact`."""
        self.credential = credential
        self.is_compact = is_compact
        self.subscriptions: dict[UUID, Subscriber] = {}
        self.closed = False
        self.close_code = NO_STATUS
        self._transport = transport
        self._close_transport = close
        self._queue: deque[Frame] = deque()  # frames for this connection only
        self._flushing: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    @property
    def user_id(self) -> UUID:
        return self.credential.user_id

    def send(self, payload: bytes) -> None:
        """Send JSON to this connection only, after all frames that were sent before."""
        frame = Frame.of(payload)
        if (writer := self._direct_writer()) is not None:
            writer.write(frame.wire)
        else:
            self._queue.append(frame)
            self.flush()

    def flush(self) -> None:
        """Start the task that sends all unsent frames, unless it runs; make all subscriptions lag.

        The transport calls this when its client reads too slowly.
        """
        if self._flushing is None and not self.closed:
            for subscription in self.subscriptions.values():
                subscription.lag()
            self._flushing = asyncio.create_task(self._flush())

    async def drained(self) -> None:
        """Return once every frame has been handed to the transport."""
        while self._flushing is not None:
            await asyncio.wait([self._flushing])

    def close(self, code: int) -> None:
        """Send nothing more, and close with a WebSocket close code (RFC 6455 §7.4)."""
        if not self.closed:
            self.close_code = code
            self.stop()
            self._closing = asyncio.create_task(self._close_transport(code))

    def stop(self) -> None:
        """Send nothing more. The transport is aborted after ABORT_SECONDS."""
        if not self.closed:
            # A client that does not read does not read the close frame either: without the abort
            # its write buffer would stay in memory.
            asyncio.get_running_loop().call_later(ABORT_SECONDS, self._transport.abort)
        self.closed = True
        for subscription in self.subscriptions.values():
            subscription.lag()
        if self._flushing is not None:
            self._flushing.cancel()
            # A task that is cancelled before its first step does not reach its `finally`.
            self._flushing = None

    async def _flush(self) -> None:
        # There must be no await between the last `_next_batch` and the end of the task: a frame
        # that arrived during the await would be left to this task, and would never be sent.
        try:
            while frames := self._next_batch():
                async with asyncio.timeout(STUCK_SECONDS):
                    await self._transport.send(frames)
        except (TimeoutError, IndexError):
            self._flushing = None
            self.close(TOO_SLOW)
        except Exception as error:  # the client is gone; its consumer receives the disconnect
            log.info("socket.lost", error=type(error).__name__)
        finally:
            self._flushing = None
            if (writer := self._direct_writer()) is not None:
                for subscription in self.subscriptions.values():
                    subscription.go_live(writer)

    def _direct_writer(self) -> Writer | None:
        if self._flushing is not None or self.closed:
            return None
        return self._transport.direct_writer(self.flush)

    def _next_batch(self) -> list[Frame]:
        """Return about BATCH_BYTES of unsent frames; raise IndexError if a ring dropped a frame."""
        frames = list(self._queue)
        self._queue.clear()
        size = sum(len(frame.wire) for frame in frames)
        for subscription in self.subscriptions.values():
            while size < BATCH_BYTES and (frame := subscription.next_frame()) is not None:
                frames.append(frame)
                size += len(frame.wire)
        return frames
