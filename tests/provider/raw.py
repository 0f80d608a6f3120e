"""A provider whose responses are given byte by byte: what it writes, when, and how it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from socket import SO_LINGER, SOL_SOCKET
from struct import pack
from typing import Final, Literal

from tests.provider.http import HttpRequest, read_request

CUT: Final = "cut"
"""Reset the connection."""
HOLD: Final = "hold"
"""Keep the connection open until the client closes it."""

Step = bytes | float | Literal["cut", "hold"]
"""Bytes to write at once, seconds to wait, or an end; the default end closes the connection."""

Choose = Callable[[HttpRequest], Sequence[Step]]


class RawProvider:
    """Answers each request with the steps that `choose` returns for it."""

    def __init__(self, choose: Choose) -> None:
        self._choose = choose
        self.requests = 0
        self.port = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Play one response on a new connection."""
        try:
            if (request := await read_request(reader)) is None:
                return
            self.requests += 1
            for step in self._choose(request):
                if step == CUT:
                    connection = writer.get_extra_info("socket")
                    # With a linger time of 0, closing the socket sends RST instead of FIN.
                    connection.setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))
                    writer.transport.abort()
                elif step == HOLD:
                    await reader.read()
                elif isinstance(step, float):
                    await asyncio.sleep(step)
                elif isinstance(step, bytes):
                    writer.write(step)
                    await writer.drain()
        except ConnectionError:
            pass  # the client has enough
        finally:
            writer.close()


@asynccontextmanager
async def playing(choose: Choose) -> AsyncIterator[RawProvider]:
    """Run the provider on this event loop, on a free port of the loopback address."""
    provider = RawProvider(choose)
    server = await asyncio.start_server(provider.answer, "127.0.0.1", limit=2**20)
    provider.port = server.sockets[0].getsockname()[1]
    try:
        yield provider
    finally:
        server.close()
