"""Opens the TCP connections to providers with asyncio alone, for httpcore.

httpcore's own backend pauses the transport after each read and resumes it before the next one. An
answer arrives in thousands of small reads, so these are thousands of system calls.
"""

import asyncio
import math
import ssl
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, cast

import httpcore

HIGH_WATER_BYTES: Final = 64 * 1024
"""The transport is paused while more bytes than this have been received and not been read."""
ENDS: Final = (b"0\r\n\r\n", b"[DONE]")
"""The last chunk of a body (RFC 9112 §7.1), and the last event of an answer."""


class TcpBackend(httpcore.AsyncNetworkBackend):
    """Opens connections on the running event loop; raises the errors of httpcore."""

    def __init__(self) -> None:
        self._opened: list[_Protocol] = []

    def abort(self) -> None:
        """Close all connections at once, those that are being established included.

        uvloop establishes a connection also if the task that waits for it is cancelled.
        """
        for protocol in self._opened:
            protocol.abort()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature of httpcore
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Return a connection to `host` within `timeout` seconds.

        The other arguments of httpcore are not used.
        """
        protocol = _Protocol()
        self._opened.append(protocol)
        try:
            async with asyncio.timeout(timeout):
                await asyncio.get_running_loop().create_connection(lambda: protocol, host, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout from None
        except OSError as error:
            raise httpcore.ConnectError(type(error).__name__) from None
        return TcpStream(protocol)


class CertificateRefused(httpcore.ConnectError):
    """The certificate of the server is not trusted, or is one for another name."""


class TcpStream(httpcore.AsyncNetworkStream):
    """One connection. Bytes that arrived before it broke are read first."""

    def __init__(self, protocol: "_Protocol") -> None:
        self._protocol = protocol

    def collect(self, seconds: float) -> None:
        """From now on, let a read collect the bytes of `seconds` after the read before.

        It ends early when the answer or the connection ends, or the buffer is full.
        """
        self._protocol.interval = seconds

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature of httpcore
    ) -> bytes:
        """Return the bytes that have arrived, at least one; b"" at the end of the connection."""
        try:
            if timeout is None:
                return await self._protocol.read(max_bytes)
            async with asyncio.timeout(timeout):
                return await self._protocol.read(max_bytes)
        except TimeoutError:
            raise httpcore.ReadTimeout from None

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature of httpcore
    ) -> None:
        """Send the bytes. They are buffered without waiting: the caller holds the whole request."""
        if self._protocol.ended:
            raise httpcore.WriteError
        self._protocol.transport.write(buffer)

    async def aclose(self) -> None:
        """Close the connection at once, also if bytes have not been sent."""
        self._protocol.transport.abort()

    def get_extra_info(self, info: str) -> Any:
        """Say for httpcore whether an idle connection has ended (RFC 9112 §9.5)."""
        if info == "is_readable":
            return self._protocol.ended or self._protocol.is_readable
        return None

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature of httpcore
    ) -> httpcore.AsyncNetworkStream:
        """Start TLS; raise CertificateRefused if the certificate does not match the name."""
        protocol = self._protocol
        try:
            async with asyncio.timeout(timeout):
                transport = await asyncio.get_running_loop().start_tls(
                    protocol.transport, protocol, ssl_context, server_hostname=server_hostname
                )
        except TimeoutError:
            protocol.transport.abort()
            raise httpcore.ConnectTimeout from None
        except ssl.SSLCertVerificationError:
            protocol.transport.abort()
            raise CertificateRefused from None
        except OSError as error:  # also ssl.SSLError
            protocol.transport.abort()
            raise httpcore.ConnectError(type(error).__name__) from None
        except BaseException:
            protocol.transport.abort()
            raise
        assert transport is not None  # typeshed: None only if the loop is closing
        protocol.transport = transport
        return self


class _Protocol(asyncio.Protocol):
    """Buffers the bytes of a connection up to the high-water mark."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.ended = False
        self._is_connected = False
        self._is_aborted = False
        self.interval = 0.0
        self._error: Exception | None = None
        self._buffer = bytearray()
        self._is_paused = False
        self._is_urgent = False  # the buffer must be read now: it is full, or holds an end
        self._collects = False  # a read waits for the end of its interval
        self._read_at = -math.inf
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_readable(self) -> bool:
        return bool(self._buffer)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._is_connected = True
        if self._is_aborted:
            self.transport.abort()

    def abort(self) -> None:
        """Close the connection now, or as soon as it is established."""
        self._is_aborted = True
        if self._is_connected:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > HIGH_WATER_BYTES and not self._is_paused:
            self._is_paused = self._is_urgent = True
            self.transport.pause_reading()
        if self._collects and any(end in data for end in ENDS):
            self._is_urgent = True
        if not self._collects or self._is_urgent:
            self._wake()

    def eof_received(self) -> None:
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._error = exc
        self._end()

    async def read(self, max_bytes: int) -> bytes:
        """Return up to `max_bytes` bytes as soon as there is one; raise ReadError after them."""
        loop = asyncio.get_running_loop()
        due = self._read_at + self.interval
        if self.interval and not self._is_urgent and loop.time() < due:
            timer = loop.call_at(due, self._wake)
            self._collects = True
            try:
                await self._wait()
            finally:
                self._collects = False
                timer.cancel()
        while not self._buffer:
            if self.ended:
                if self._error is not None:
                    raise httpcore.ReadError(type(self._error).__name__)
                return b""
            await self._wait()
        self._read_at = loop.time()
        data = bytes(self._buffer[:max_bytes])
        del self._buffer[:max_bytes]
        self._is_urgent = self.ended or bool(self._buffer)
        if self._is_paused and len(self._buffer) <= HIGH_WATER_BYTES:
            self._is_paused = False
            with suppress(RuntimeError):  # the transport is closing
                self.transport.resume_reading()
        return data

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _end(self) -> None:
        self.ended = self._is_urgent = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
