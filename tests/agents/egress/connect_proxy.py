"""An HTTP proxy that knows only CONNECT (RFC 9110 §9.3.6)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class ConnectProxy:
    """The proxy and the heads of the requests that it got."""

    status: str = "200 OK"
    target: tuple[str, int] | None = None
    """Where the tunnels to public addresses end."""
    port: int = 0
    heads: list[str] = field(default_factory=list)
    tunnels: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Open one tunnel, or refuse it with `status`."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
        self.heads.append(head)
        writer.write(f"HTTP/1.1 {self.status}\r\n\r\n".encode())
        if not self.status.startswith("200"):
            writer.close()
            return
        named, _, port = head.split(" ")[1].rpartition(":")
        host, number = named, int(port)
        if self.target is not None and named != "127.0.0.1":
            host, number = self.target
        out_reader, out_writer = await asyncio.open_connection(host, number)
        for source, target in ((reader, out_writer), (out_reader, writer)):
            self.tunnels.add(asyncio.create_task(_copy(source, target)))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # one side has closed the tunnel
    finally:
        writer.close()


@asynccontextmanager
async def connect_proxy(
    status: str = "200 OK", target: tuple[str, int] | None = None
) -> AsyncIterator[ConnectProxy]:
    """Run a proxy on a free port of the loopback address."""
    proxy = ConnectProxy(status, target)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1")
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for tunnel in proxy.tunnels:
            tunnel.cancel()
        await asyncio.gather(*proxy.tunnels, return_exceptions=True)
