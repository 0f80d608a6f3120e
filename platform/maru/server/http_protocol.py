"""uvicorn's HTTP protocol with bounds on what one client can occupy, and for how long.

The parser (llhttp) has no bounds and joins the pieces of a header in quadratic time, so it gets a
request in parts, and no byte beyond a bound. A client that breaks a bound gets one response, then
its further bytes are discarded for LINGER_SECONDS: a close with unread bytes sends a TCP reset,
which would destroy the response (RFC 9112 §9.6).
"""

import asyncio
from asyncio import TimerHandle
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

import httptools
from django.conf import settings
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from maru.server.connections import Connections, Slot
from maru.server.refusals import SLOW, Refusal
from maru.server.websocket_protocol import BoundedProtocol
from rooms import metrics

HEAD_BYTES: Final = 32_768
HEAD_SECONDS: Final = 10.0
"""Time from the connection, or from the first byte of a later request, to the end of the head."""
BODY_SECONDS: Final = 10.0
BODY_BYTES_PER_SECOND: Final = 8_192
"""A body may take BODY_SECONDS, and one second more for each BODY_BYTES_PER_SECOND."""
WRITE_SECONDS: Final = 30.0
"""Time in which a client must read what fills the send buffer of its connection."""
LINGER_SECONDS: Final = 2.0
MAX_PIPELINED: Final = 16
"""Requests of one connection that wait for an earlier response."""

_PART: Final = 16_384
_FRAMING_PER_BYTE: Final = 8  # of a chunk with one byte of data: `1\r\nx\r\n` is 6 bytes

INVALID: Final = Refusal(HTTPStatus.BAD_REQUEST, "invalid", "malformed")
HEAD_TOO_LARGE: Final = Refusal(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too_large", "head_size"
)
BODY_TOO_LARGE: Final = Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", "body_size")
HEAD_TOO_SLOW: Final = Refusal(HTTPStatus.REQUEST_TIMEOUT, "invalid", "head_time", detail=SLOW)
BODY_TOO_SLOW: Final = Refusal(HTTPStatus.REQUEST_TIMEOUT, "invalid", "body_time", detail=SLOW)
TOO_MANY_PIPELINED: Final = Refusal(HTTPStatus.TOO_MANY_REQUESTS, "rate_limited", "pipelined")


class _Refused(Exception):
    """Raised in a callback of the parser, which stops there."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


class BoundedHttpProtocol(HttpToolsProtocol):
    """Bounds heads, bodies, pipelined requests and unread responses of one connection."""

    def __init__(self, *args: Any, connections: Connections, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._all = connections
        self._slot: Slot | None = None
        self._timer: TimerHandle | None = None  # of the head or the body
        self._unread: TimerHandle | None = None  # of the response, or of the last bytes
        self._in_head = True
        self._is_over = False  # further bytes are discarded
        self._heads = 0
        self._head_size = 0
        self._body_size = 0
        self._framing = 0
        self._body_began = 0.0

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """Take a place, or refuse the connection."""
        super().connection_made(transport)
        admitted = self._all.admit(self.client[0] if self.client else None, transport.abort)
        if isinstance(admitted, Refusal):
            self._refuse(admitted)
            transport.close()  # without a place, the connection must not linger
            return
        self._slot = admitted
        self._set_timer(HEAD_SECONDS, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the place and end every timer."""
        super().connection_lost(exc)
        self._release()

    def _release(self) -> None:
        self._set_timer(0, None)
        self._set_unread_timer(0)
        if self._slot is not None:
            self._slot.release()
            self._slot = None

    def shutdown(self) -> None:
        """Close after the responses that are due, also to a request that has not arrived yet.

        A proxy that has just connected cannot repeat a POST that it has sent already.
        """
        if self.cycle is None and not self._is_over:
            return
        super().shutdown()

    # Received bytes

    def data_received(self, data: bytes) -> None:
        """Feed the parser, in parts, until a bound is exceeded."""
        self._unset_keepalive_if_required()
        rest = memoryview(data)
        while rest and not self._is_over:
            size = _PART
            if self._in_head:
                if self._timer is None:
                    self._set_timer(HEAD_SECONDS, self._head_is_late)
                size = min(size, HEAD_BYTES - self._head_size)
            part, rest = rest[:size], rest[size:]
            self._feed(part)

    def _feed(self, part: memoryview) -> None:
        heads, body = self._heads, self._body_size
        try:
            self.parser.feed_data(part)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self._upgrade()
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause.refusal if isinstance(cause, _Refused) else INVALID)
        else:
            if self._in_head:
                # A head that begins inside of a part is counted from the next part on.
                self._head_size = self._head_size + len(part) if self._heads == heads else 0
            elif self._heads == heads:
                # Chunk extensions and trailers (RFC 9112 §7.1) are not body and have no end.
                self._framing = self._framing + len(part) if self._body_size == body else 0
            if max(self._head_size, self._framing) >= HEAD_BYTES:
                self._refuse(HEAD_TOO_LARGE)

    # Callbacks of the parser

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header. A trailer must not become a header (RFC 9110 §6.5.1)."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Refuse a body that is too large before it is read; start the request."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise _Refused(TOO_MANY_PIPELINED)
        if _declared_length(self.headers) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise _Refused(BODY_TOO_LARGE)
        super().on_headers_complete()
        self._in_head = False
        self._heads += 1
        self._head_size = self._body_size = self._framing = 0
        self._body_began = self.loop.time()
        self._set_timer(BODY_SECONDS, self._check_body_time)
        if self._all.is_draining and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Pass on a piece of the body, up to the bound: a chunked body declares no size."""
        self._body_size += len(body)
        if self._body_size > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise _Refused(BODY_TOO_LARGE)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Let the client wait for the response; after an early response, wait for the client."""
        super().on_message_complete()
        self._in_head = True
        if self.cycle is not None and self.cycle.response_complete:
            self._set_timer(HEAD_SECONDS, self._head_is_late)
            return
        self._set_timer(0, None)
        if self._slot is not None:
            self._slot.is_busy()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the client to read the last bytes."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._set_unread_timer(WRITE_SECONDS)
        elif self._slot is not None and not self.pipeline:
            self._slot.waits()

    # Time

    def _set_timer(self, seconds: float, late: Callable[[], None] | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, late) if late is not None else None

    def _head_is_late(self) -> None:
        self._timer = None
        if self._head_size or self._is_answering():
            self._refuse(HEAD_TOO_SLOW)
        else:  # a silent client expects no response
            metrics.REFUSED.labels(HEAD_TOO_SLOW.reason).inc()
            self.transport.abort()

    def _check_body_time(self) -> None:
        """Refuse a body that is below the minimum rate, unless the application delays it."""
        allowed = BODY_SECONDS + self._body_size / BODY_BYTES_PER_SECOND
        left = self._body_began + allowed - self.loop.time()
        if self.flow.read_paused:
            left = max(left, BODY_SECONDS)
        if left > 0:
            self._set_timer(left, self._check_body_time)
        else:
            self._timer = None
            self._refuse(BODY_TOO_SLOW)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, also if its client has not read the last response."""
        super().timeout_keep_alive_handler()
        self._set_unread_timer(WRITE_SECONDS)

    def pause_writing(self) -> None:
        """Give the client WRITE_SECONDS to read what fills the send buffer."""
        super().pause_writing()
        self._set_unread_timer(WRITE_SECONDS)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._set_unread_timer(0)

    def _set_unread_timer(self, seconds: float) -> None:
        if self._unread is not None:
            self._unread.cancel()
        self._unread = self.loop.call_later(seconds, self.transport.abort) if seconds else None

    # The end

    def _is_answering(self) -> bool:
        """Return True if a response to an earlier request is not complete."""
        if self._in_head:
            return self.cycle is not None and not self.cycle.response_complete
        return bool(self.pipeline)

    def _refuse(self, refusal: Refusal) -> None:
        """Discard further bytes; send the refusal, unless a response is on its way, and close."""
        self._is_over = True
        self._unset_keepalive_if_required()
        self._set_timer(0, None)
        metrics.REFUSED.labels(refusal.reason).inc()
        if self._in_head and self._is_answering():
            self.cycle.keep_alive = False  # the newest request: the connection ends after it
            return
        cycle = None if self._in_head else self.cycle
        if self.pipeline or (cycle is not None and cycle.response_started):
            self.transport.abort()
            return
        if cycle is not None:  # as after a disconnect: the application must not answer
            cycle.disconnected = True
            cycle.message_event.set()
        headers, body = refusal.response(self._path(), self.headers or ())
        lines = [STATUS_LINE[refusal.status]]
        for name, value in (*self.server_state.default_headers, *headers):
            lines += [name, b": ", value, b"\r\n"]
        self.transport.write(b"".join([*lines, b"\r\n", body]))
        if self._slot is not None:
            self._slot.waits()
            self.transport.write_eof()
        self._set_unread_timer(LINGER_SECONDS)

    def _path(self) -> str:
        return getattr(self, "url", b"").partition(b"?")[0].decode("latin-1")

    # WebSocket

    def _upgrade(self) -> None:
        """Hand the connection and its place over to the WebSocket protocol."""
        if self._is_answering():
            self._refuse(INVALID)  # the frames would be mixed with the earlier response
            return
        self._is_over = True
        self._set_timer(0, None)
        self.handle_websocket_upgrade()
        protocol: Any = self.transport.get_protocol()
        assert isinstance(protocol, BoundedProtocol)
        if not protocol.handshake_initiated:  # `websockets` refuses what llhttp accepts
            self._refuse(INVALID)
        slot, self._slot = self._slot, None
        protocol.take_over(slot, is_draining=self._all.is_draining)


def _declared_length(headers: list[tuple[bytes, bytes]]) -> int:
    """Return Content-Length, or 0; the parser has checked that it is a number and occurs once."""
    return next((int(value) for name, value in headers if name == b"content-length"), 0)
