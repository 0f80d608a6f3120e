"""Transports, which write frames to one client.

A room's frame is the same for every client, so it is encoded once and its bytes are written as they
are: through uvicorn's transport where the server is uvicorn, otherwise through ASGI `send`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, Self

from msgspec import Struct
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

Send = Callable[[Any], Awaitable[None]]


class Writer(Protocol):
    """What a topic writes its frames to: the transport of the event loop, without a wrapper."""

    def write(self, wire: bytes, /) -> None:
        """Write at once; what the client cannot take yet is buffered."""


class Frame(Struct, frozen=True, gc=False):
    """One text message: its JSON, and the same JSON as a complete WebSocket frame."""

    payload: bytes
    wire: bytes

    @classmethod
    def of(cls, payload: bytes) -> Self:
        """Return the unmasked, unfragmented text frame of `payload` (RFC 6455, section 5.2)."""
        size = len(payload)
        if size < 126:
            header = bytes((0x81, size))
        elif size < 1 << 16:
            header = b"\x81\x7e" + size.to_bytes(2, "big")
        else:
            header = b"\x81\x7f" + size.to_bytes(8, "big")
        return cls(payload, header + payload)


class Transport(Protocol):
    """Writes frames to one client. All methods run on the event loop."""

    def direct_writer(self, on_pause: Callable[[], None]) -> Writer | None:
        """Return what writes wire bytes at once, or None if that is not possible now.

        It may be used until `on_pause` is called.
        """

    async def send(self, frames: Sequence[Frame]) -> None:
        """Write `frames` as soon as the client can take them (backpressure)."""

    def abort(self) -> None:
        """Close the connection and drop its unsent bytes."""


class FlowControlProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol, with a callback for the moment when writing must stop."""

    on_pause: Callable[[], None] | None = None
    """Called once, when the write buffer passes its high-water mark or the connection is lost."""

    def pause_writing(self) -> None:
        super().pause_writing()
        self._notify()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._notify()

    def _notify(self) -> None:
        on_pause, self.on_pause = self.on_pause, None
        if on_pause is not None:
            on_pause()


class UvicornTransport:
    """Writes to uvicorn's asyncio transport: no task, no copy and no encoding for each client.

    It writes exactly what uvicorn would write, as long as per-message deflate (RFC 7692) is off.
    """

    def __init__(self, protocol: FlowControlProtocol) -> None:
        self._protocol = protocol
        self._transport = protocol.transport
        self._writable: asyncio.Event = protocol.writable

    def direct_writer(self, on_pause: Callable[[], None]) -> Writer | None:
        if not self._writable.is_set() or self._is_closing():
            return None
        self._protocol.on_pause = on_pause
        return self._transport

    async def send(self, frames: Sequence[Frame]) -> None:
        await self._writable.wait()
        if not self._is_closing():
            self._transport.write(b"".join([frame.wire for frame in frames]))

    def abort(self) -> None:
        self._transport.abort()

    def _is_closing(self) -> bool:
        return self._protocol.close_sent or self._transport.is_closing()


class AsgiTransport:
    """Sends through ASGI, for servers other than uvicorn and for compressed connections."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def direct_writer(self, on_pause: Callable[[], None]) -> Writer | None:
        return None

    async def send(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            await self._send({"type": "websocket.send", "text": frame.payload.decode()})

    def abort(self) -> None:
        """Do nothing: ASGI has no abort. The server closes clients that do not answer its pings."""


def transport_for(send: Send) -> Transport:
    """Return the transport for a WebSocket that was accepted with the ASGI callable `send`."""
    server = getattr(send, "__self__", None)
    if isinstance(server, FlowControlProtocol) and not server.config.ws_per_message_deflate:
        return UvicornTransport(server)
    return AsgiTransport(send)
