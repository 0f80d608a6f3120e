"""A web server with the pages of a test, behind a proxy that finds it at every address.

So a test fetches public URLs, through the egress guard and the product's own connections.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from uuid import UUID

from pytest_django.fixtures import Settings

from agents.tool_types import ToolResult
from agents.tools import fetch_page
from maru.config.service_urls import parse_proxy_url
from tests.agents.egress.connect_proxy import ConnectProxy, connect_proxy

ORIGIN = "http://1.1.1.1"
TEAM = UUID(int=1)

Respond = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Web:
    """The pages by their path, the heads of the requests, and the proxy."""

    pages: dict[str, bytes | Respond] = field(default_factory=dict)
    heads: list[str] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client has ended its connection before a `Respond` has ended."""
    proxy: ConnectProxy = field(default_factory=ConnectProxy)

    def put(
        self,
        body: bytes | str = b"",
        kind: str = "text/html; charset=utf-8",
        *,
        status: str = "200 OK",
        path: str = "/",
        **headers: str,
    ) -> None:
        """Serve a response at a path."""
        data = body.encode() if isinstance(body, str) else body
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(data)}"]
        lines += [f"Content-Type: {kind}"] if kind else []
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.pages[path] = "\r\n".join([*lines, "", ""]).encode() + data

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            page = self.pages[head.split(" ")[1]]
            if isinstance(page, bytes):
                writer.write(page)
                await writer.drain()
            else:
                responding = asyncio.ensure_future(page(writer))
                ended = asyncio.ensure_future(reader.read())
                await asyncio.wait({responding, ended}, return_when=asyncio.FIRST_COMPLETED)
                if not responding.done() or responding.exception():
                    self.left.set()
                responding.cancel()
                ended.cancel()
        writer.close()


@asynccontextmanager
async def open_web(settings: Settings, tls: ssl.SSLContext | None = None) -> AsyncIterator[Web]:
    """Serve pages at every public address while the context is open, over TLS with `tls`."""
    web = Web()
    server = await asyncio.start_server(web.serve, "127.0.0.1", ssl=tls)
    target = server.sockets[0].getsockname()
    async with connect_proxy(target=target) as web.proxy:
        settings.EGRESS_PROXY = parse_proxy_url(f"http://127.0.0.1:{web.proxy.port}")
        yield web
    server.close()


async def fetch(path: str = "/", origin: str = ORIGIN) -> ToolResult:
    return await fetch_page.run({"url": f"{origin}{path}"}, TEAM)
