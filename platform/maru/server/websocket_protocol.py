"""uvicorn's WebSocket protocol with bounds on the memory that one client can occupy."""

from typing import Final

from websockets import http11
from websockets.frames import CloseCode, Frame

from maru.server.connections import Slot
from rooms.fanout.transport import FlowControlProtocol

FRAGMENTS: Final = 1_024

# A socket must accept the cookies that a page accepts; `http_protocol` has bounded the head.
http11.MAX_LINE_LENGTH = http11.MAX_NUM_HEADERS = 32_768


class BoundedProtocol(FlowControlProtocol):
    """Bounds message fragments, unread pongs and half-closed connections, unlike uvicorn."""

    _slot: Slot | None = None
    _is_draining = False

    def take_over(self, slot: Slot | None, *, is_draining: bool) -> None:
        """Keep the place of the connection until it is lost. Called after the protocol switch."""
        self._slot = slot
        self._is_draining = is_draining
        if slot is not None:
            slot.is_busy()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._slot is not None:
            self._slot.release()

    def shutdown(self) -> None:
        """Close with 1012; an open handshake completes first, where uvicorn would answer 500."""
        if self.handshake_complete or self.close_sent:
            super().shutdown()
        else:
            self._is_draining = True

    def start_keepalive(self) -> None:
        """Start the pings. Called at the end of the handshake."""
        super().start_keepalive()
        if self._is_draining:
            self.loop.call_soon(self.shutdown)

    def handle_cont(self, event: Frame) -> None:
        """Fail the connection beyond FRAGMENTS continuation frames (RFC 6455 §5.4).

        Empty fragments do not count towards `ws_max_size`, but each one is kept in memory.
        """
        if self.close_sent:
            return
        if len(self.frames) < FRAGMENTS:
            super().handle_cont(event)
            return
        self.conn.fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
        self.handle_parser_exception()

    def handle_ping(self) -> None:
        """Answer a ping (RFC 6455 §5.5.2), except while the client does not read its socket."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def keepalive_timeout(self) -> None:
        """Abort the transport: a graceful close would wait for an unread send buffer forever."""
        super().keepalive_timeout()
        self.transport.abort()
