"""A provider whose responses are given byte by byte: what it writes, when, and how it ends."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Literal

from tests.provider.http import read_request

CUT: Final = "cut"
"""Reset the connection."""
HOLD: Final = "hold"
"""Keep the connection open until the client closes it."""

Step = bytes | float | Literal["cut", "hold"]
"""Bytes to write at once, seconds to wait, or an end; the default end closes the connection."""


class RawProvider:
    """Answers the n-th request with the n-th response; further requests with the last one."""

    def __init__(self, responses: Sequence[Sequence[Step]]) -> None:
        self.responses = list(responses)
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
            if await read_request(reader) is None:
                return
            steps = self.responses[min(self.requests, len(self.responses) - 1)]
            self.requests += 1
            for step in steps:
                if step == CUT:
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
async def playing(*responses: Sequence[Step]) -> AsyncIterator[RawProvider]:
    """Run the provider on this event loop, on a free port of the loopback address."""
    provider = RawProvider(responses)
    server = await asyncio.start_server(provider.answer, "127.0.0.1", limit=2**20)
    provider.port = server.sockets[0].getsockname()[1]
    try:
        yield provider
    finally:
        server.close()
