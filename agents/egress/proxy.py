"""Opens the connections to providers, through the HTTP proxy of the operator if there is one.

httpx's own support for proxies checks the certificate of a provider against the host in the URL,
which is the pinned IP here. So each connection is opened by CONNECT to the pinned IP (RFC 9110
§9.3.6), below the TLS of httpx. The egress guard has judged the IP before, and the proxy resolves
no name.
"""

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Final

import httpcore
import httpx
from django.conf import settings

from agents.egress.tcp import TcpBackend

MAX_HEAD_BYTES: Final = 16 * 1024
DEFAULT_SECONDS: Final = 10.0
PORTS: Final = {"http": 80, "https": 443}


@contextmanager
def open_transport() -> Iterator[httpx.AsyncHTTPTransport]:
    """Yield a transport whose connections EgressBackend opens, for the requests of one task.

    All of them are closed at the end: httpcore loses the connection of a task that is cancelled
    after the connection is established and before the request is sent.
    """
    transport = httpx.AsyncHTTPTransport(verify=tls_context())
    backend = EgressBackend()
    # httpx has no parameter for the network backend of its pool.
    transport._pool = httpcore.AsyncConnectionPool(  # noqa: SLF001
        ssl_context=tls_context(), max_connections=None, network_backend=backend
    )
    try:
        yield transport
    finally:
        backend.abort()


@cache
def tls_context() -> ssl.SSLContext:
    """Return the TLS context of all requests.

    The first call blocks for tens of milliseconds: it reads the certificates of the authorities.
    """
    return httpx.create_ssl_context()


class EgressBackend(httpcore.AsyncNetworkBackend):
    """Opens TCP connections, through MARU_EGRESS_PROXY if it is set.

    A refusal of the proxy raises httpcore.ProxyError without details.
    """

    def __init__(self) -> None:
        self._direct = TcpBackend()

    def abort(self) -> None:
        """Close all connections at once."""
        self._direct.abort()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature of httpcore
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Return a connection to `host`, within `timeout` seconds in all."""
        proxy = settings.EGRESS_PROXY
        if proxy is None:
            return await self._direct.connect_tcp(host, port, timeout)
        try:
            async with asyncio.timeout(timeout or DEFAULT_SECONDS):
                stream = await self._direct.connect_tcp(
                    proxy.host, proxy.port or PORTS[proxy.scheme], timeout
                )
                try:
                    if proxy.scheme == "https":
                        tls = ssl.create_default_context()
                        stream = await stream.start_tls(tls, proxy.host, timeout)
                    await _connect(stream, host, port, _credentials(proxy.user, proxy.password))
                except BaseException:
                    with suppress(Exception):
                        await stream.aclose()
                    raise
                return stream
        except TimeoutError:
            raise httpcore.ConnectTimeout from None


def _credentials(user: str | None, password: str | None) -> str:
    """Return the header with the credentials (RFC 7617), or ""."""
    if user is None:
        return ""
    encoded = b64encode(f"{user}:{password or ''}".encode()).decode("ascii")
    return f"Proxy-Authorization: Basic {encoded}\r\n"


async def _connect(
    stream: httpcore.AsyncNetworkStream, host: str, port: int, credentials: str
) -> None:
    """Ask the proxy for a tunnel. The other end of the tunnel sends nothing before we do."""
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    await stream.write(
        f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{credentials}\r\n".encode("ascii")
    )
    head = b""
    while b"\r\n\r\n" not in head:
        data = await stream.read(MAX_HEAD_BYTES)
        head += data
        if not data or len(head) > MAX_HEAD_BYTES:
            raise httpcore.ProxyError("no response")
    status = head.split(b" ", 2)[1:2]
    if not head.startswith(b"HTTP/1.") or not status or not status[0].startswith(b"2"):
        raise httpcore.ProxyError("refused")
