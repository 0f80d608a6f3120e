"""The way out of a socket.

A frame of a room is the same for all who hear it, so it is finished once and written as it is:
through the server's own transport where the server is uvicorn, by plain ASGI where it is not.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, Self

from msgspec import Struct
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

Send = Callable[[Any], Awaitable[None]]
Write = Callable[[bytes], None]


class Frame(Struct, frozen=True, gc=False):
    """A text as it goes out: the JSON, and the same behind the header of a WebSocket frame."""

    payload: bytes
    wire: bytes

    @classmethod
    def of(cls, payload: bytes) -> Self:
        """Return the unmasked, unfragmented text frame of a payload (RFC 6455, section 5.2)."""
        size = len(payload)
        if size < 126:
            header = bytes((0x81, size))
        elif size < 1 << 16:
            header = b"\x81\x7e" + size.to_bytes(2, "big")
        else:
            header = b"\x81\x7f" + size.to_bytes(8, "big")
        return cls(payload, header + payload)


class Transport(Protocol):
    def write(self, frame: Frame) -> bool:
        """Write a frame at once and return True; False where that cannot be done now."""

    def writer(self, stalled: Callable[[], None]) -> Write | None:
        """Return how to write wires at once, until `stalled` is called; None where one cannot."""

    async def send(self, frames: Sequence[Frame]) -> None:
        """Send frames as soon as the socket can take them."""

    def abort(self) -> None:
        """Drop the connection and what it has not sent."""


class FlowControlProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, which also says when its transport is not to be written to any more."""

    stalled: Callable[[], None] | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stall()

    def _stall(self) -> None:
        stalled, self.stalled = self.stalled, None
        if stalled is not None:
            stalled()


class UvicornTransport:
    """Writes through uvicorn's transport: no task, no copy and no encoding for each socket.

    Only where uvicorn would do the same: an open socket, per-message deflate off.
    """

    def __init__(self, protocol: FlowControlProtocol) -> None:
        self._protocol = protocol
        self._transport = protocol.transport
        self._can_take_more: asyncio.Event = protocol.writable

    def write(self, frame: Frame) -> bool:
        if not self._is_ready():
            return False
        self._transport.write(frame.wire)
        return True

    def writer(self, stalled: Callable[[], None]) -> Write | None:
        if not self._is_ready():
            return None
        self._protocol.stalled = stalled
        return self._transport.write

    async def send(self, frames: Sequence[Frame]) -> None:
        await self._can_take_more.wait()
        if not self._closing():
            self._transport.write(b"".join([frame.wire for frame in frames]))

    def abort(self) -> None:
        self._transport.abort()

    def _is_ready(self) -> bool:
        return self._can_take_more.is_set() and not self._closing()

    def _closing(self) -> bool:
        return self._protocol.close_sent or self._transport.is_closing()


class AsgiTransport:
    """Sends by ASGI, on whatever server that may be."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def write(self, frame: Frame) -> bool:
        return False

    def writer(self, stalled: Callable[[], None]) -> Write | None:
        return None

    async def send(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            await self._send({"type": "websocket.send", "text": frame.payload.decode()})

    def abort(self) -> None:
        """ASGI knows no way to do so; the server ends what does not answer its pings."""


def transport_for(send: Send) -> Transport:
    """Return the best way out for the `send` that a socket was opened with."""
    server = getattr(send, "__self__", None)
    if isinstance(server, FlowControlProtocol) and not server.config.ws_per_message_deflate:
        return UvicornTransport(server)
    return AsgiTransport(send)
