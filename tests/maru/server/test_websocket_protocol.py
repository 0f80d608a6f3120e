"""What uvicorn's WebSocket keeps for a client, seen from inside: a server in this process."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from maru.server.process import config
from maru.server.websocket_protocol import FRAGMENTS, BoundedProtocol
from tests.live import PATIENCE

TEXT, CONTINUED, PING, CLOSE = 0x1, 0x0, 0x9, 0x8
LAST = 0x80
TOO_BIG = 1009


def frame(opcode: int, payload: bytes = b"", *, last: bool = True) -> bytes:
    """Return a client's frame; its mask is nought, which changes nothing."""
    head = bytes((opcode | (LAST if last else 0),))
    if len(payload) < 126:
        return head + bytes((0x80 | len(payload),)) + bytes(4) + payload
    return head + b"\xfe" + len(payload).to_bytes(2, "big") + bytes(4) + payload


class Served:
    """The server, its one connection, and the raw other end of it."""

    def __init__(self, client: socket.socket, ping_seconds: float) -> None:
        settings = config(self, ())
        settings.ws_ping_interval = settings.ws_ping_timeout = ping_seconds
        self.server = uvicorn.Server(settings)
        self.client = client
        self.heard: list[str] = []

    @property
    def protocol(self) -> BoundedProtocol:
        (protocol,) = self.server.server_state.connections
        assert isinstance(protocol, BoundedProtocol)
        return protocol

    @property
    def is_over(self) -> bool:
        return not self.server.server_state.connections

    @property
    def unsent(self) -> int:
        return self.protocol.transport.get_write_buffer_size()

    async def tell(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.client, data)

    async def read(self, size: int) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await asyncio.get_running_loop().sock_recv(self.client, size)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Take in all that comes, and say nothing but what a test has it say."""
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{message['type']}.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.send = send
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            self.heard.append(message["text"])


@asynccontextmanager
async def served(*, ping_seconds: float = 60) -> AsyncIterator[Served]:
    """Serve as the product does, and connect."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        listener.setblocking(False)
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        made = Served(client, ping_seconds)
        serving = asyncio.create_task(made.server.serve(sockets=[listener]))
        await asyncio.get_running_loop().sock_connect(client, listener.getsockname())
        await made.tell(
            b"GET /ws/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert b"101" in await made.read(1_000)
        yield made
        made.server.should_exit = True
        client.close()
        await serving


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 # uvicorn tells nobody
            await asyncio.sleep(0.01)


def close_code(data: bytes) -> int:
    """Return the code of the close with which these bytes end."""
    assert data[0] == LAST | CLOSE, data
    return int.from_bytes(data[2:4], "big")


async def test_message_in_many_parts_is_one() -> None:
    async with served() as here:
        parts = [frame(CONTINUED, b"x" * 63, last=False) for _ in range(FRAGMENTS - 2)]
        await here.tell(frame(TEXT, last=False) + b"".join(parts) + frame(CONTINUED, b"!"))
        await until(lambda: bool(here.heard))

        assert here.heard == ["x" * 63 * (FRAGMENTS - 2) + "!"]


@pytest.mark.parametrize("size", [0, 1])
async def test_message_in_endless_parts_is_too_big_whatever_its_size(size: int) -> None:
    async with served() as here:
        part = frame(CONTINUED, b"x" * size, last=False)
        await here.tell(frame(TEXT, last=False) + part * 2 * FRAGMENTS)

        assert close_code(await here.read(1_000)) == TOO_BIG
        assert here.heard == []


async def test_who_pings_and_does_not_read_is_kept_no_pile_of_pongs() -> None:
    async with served() as here:
        pings = frame(PING, b"x" * 125) * 2_000
        for _ in range(30):
            await here.tell(pings)
        await here.tell(frame(TEXT, b"after all that"))
        await until(lambda: here.heard == ["after all that"])

        assert here.unsent < 500_000  # of eight million


async def test_who_reads_is_answered_each_ping() -> None:
    async with served() as here:
        for number in range(100):
            await here.tell(frame(PING, str(number).encode()))
            pong = await here.read(100)
            assert pong[2:] == str(number).encode()


async def test_half_open_connection_ends_though_something_is_still_unsent() -> None:
    async with served(ping_seconds=0.3) as here:
        while not 0 < here.unsent < 60_000:
            await here.send({"type": "websocket.send", "text": "x" * 10_000})

        await until(lambda: here.is_over)
