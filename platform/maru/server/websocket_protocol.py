"""uvicorn's WebSocket, with an end to all that one client can have us keep."""

from typing import Final

from websockets.frames import CloseCode, Frame

from rooms.fanout.transport import SocketProtocol

FRAGMENTS: Final = 1_024


class BoundedProtocol(SocketProtocol):
    """Ends what uvicorn leaves open: empty fragments, pongs that nobody reads, half-open ends."""

    def handle_cont(self, event: Frame) -> None:
        """Refuse a message in too many parts: an empty one has no size, and is kept."""
        if self.close_sent:
            return
        if len(self.frames) < FRAGMENTS:
            super().handle_cont(event)
            return
        self.conn.fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
        self.handle_parser_exception()

    def handle_ping(self) -> None:
        """Answer, but for a client that does not read: its pongs would pile up."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def keepalive_timeout(self) -> None:
        """End the connection now: a close that waits until all is sent waits for ever."""
        super().keepalive_timeout()
        self.transport.abort()
