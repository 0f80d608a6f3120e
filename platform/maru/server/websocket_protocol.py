"""uvicorn's WebSocket protocol with bounds on the memory that one client can occupy."""

from typing import Final

from websockets.frames import CloseCode, Frame

from rooms.fanout.transport import FlowControlProtocol

FRAGMENTS: Final = 1_024


class BoundedProtocol(FlowControlProtocol):
    """Bounds message fragments, unread pongs and half-closed connections, unlike uvicorn."""

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
