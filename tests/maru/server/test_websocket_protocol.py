"""Memory that one WebSocket client can occupy; the server runs in the test's process."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
import uvicorn

from maru.server.process import config
from maru.server.websocket_protocol import FRAGMENTS, BoundedProtocol
from rooms.fanout.connection import TOO_SLOW, Connection
from rooms.fanout.credentials import Credential
from rooms.fanout.transport import transport_for
from tests.deadlines import DEADLINE, scaled

TEXT, CONTINUED, PING, CLOSE = 0x1, 0x0, 0x9, 0x8
LAST = 0x80
TOO_BIG = 1009


def frame(opcode: int, payload: bytes = b"", *, last: bool = True) -> bytes:
    """Return a client frame (RFC 6455 §5.2) with a zero masking key: the payload is unchanged."""
    head = bytes((opcode | (LAST if last else 0),))
    if len(payload) < 126:
        return head + bytes((0x80 | len(payload),)) + bytes(4) + payload
    return head + b"\xfe" + len(payload).to_bytes(2, "big") + bytes(4) + payload


class Served:
    """A server, its only connection, and the client's raw socket."""

    def __init__(self, client: socket.socket, ping_seconds: float) -> None:
        settings = config(self, ())
        settings.ws_ping_interval = settings.ws_ping_timeout = ping_seconds
        self.server = uvicorn.Server(settings)
        self.client = client
        self.received: list[str] = []

    @property
    def protocol(self) -> BoundedProtocol:
        (protocol,) = self.server.server_state.connections
        assert isinstance(protocol, BoundedProtocol)
        return protocol

    @property
    def is_closed(self) -> bool:
        return not self.server.server_state.connections

    @property
    def unsent(self) -> int:
        return self.protocol.transport.get_write_buffer_size()

    async def send_bytes(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.client, data)

    async def read(self, size: int) -> bytes:
        async with asyncio.timeout(DEADLINE):
            return await asyncio.get_running_loop().sock_recv(self.client, size)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI application: keep received texts in `received`; send only what a test sends."""
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{message['type']}.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.send = send
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            self.received.append(message["text"])


@asynccontextmanager
async def served(*, ping_seconds: float = 60) -> AsyncIterator[Served]:
    """Serve with the product's configuration, and open a WebSocket."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        listener.setblocking(False)
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        created = Served(client, ping_seconds)
        serving = asyncio.create_task(created.server.serve(sockets=[listener]))
        await asyncio.get_running_loop().sock_connect(client, listener.getsockname())
        await created.send_bytes(
            b"GET /ws/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert b"101" in await created.read(1_000)
        yield created
        created.server.should_exit = True
        client.close()
        await serving


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 # uvicorn has no event for this
            await asyncio.sleep(0.01)


def close_code(data: bytes) -> int:
    """Return the close code of a close frame (RFC 6455 §5.5.1)."""
    assert data[0] == LAST | CLOSE, data
    return int.from_bytes(data[2:4], "big")


async def test_fragmented_message_is_reassembled() -> None:
    async with served() as connection:
        parts = [frame(CONTINUED, b"x" * 63, last=False) for _ in range(FRAGMENTS - 2)]
        await connection.send_bytes(
            frame(TEXT, last=False) + b"".join(parts) + frame(CONTINUED, b"!")
        )
        await until(lambda: bool(connection.received))

        assert connection.received == ["x" * 63 * (FRAGMENTS - 2) + "!"]


@pytest.mark.parametrize("size", [0, 1])
async def test_message_with_too_many_fragments_is_refused(size: int) -> None:
    async with served() as connection:
        part = frame(CONTINUED, b"x" * size, last=False)
        await connection.send_bytes(frame(TEXT, last=False) + part * 2 * FRAGMENTS)

        assert close_code(await connection.read(1_000)) == TOO_BIG
        assert connection.received == []


async def test_pongs_are_not_buffered_for_a_client_that_does_not_read() -> None:
    async with served() as connection:
        pings = frame(PING, b"x" * 125) * 2_000
        for _ in range(30):
            await connection.send_bytes(pings)
        await connection.send_bytes(frame(TEXT, b"after all that"))
        await until(lambda: connection.received == ["after all that"])

        assert connection.unsent < 500_000  # of 8 MB of pongs


async def test_each_ping_of_a_reading_client_is_answered() -> None:
    async with served() as connection:
        for number in range(100):
            await connection.send_bytes(frame(PING, str(number).encode()))
            pong = await connection.read(100)
            assert pong[2:] == str(number).encode()


async def test_half_open_connection_is_aborted_with_unsent_data() -> None:
    async with served(ping_seconds=scaled(0.3)) as connection:
        while not 0 < connection.unsent < 60_000:
            await connection.send({"type": "websocket.send", "text": "x" * 10_000})

        await until(lambda: connection.is_closed)


async def test_client_that_does_not_read_gets_close_code_4408(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rooms.fanout.connection.STUCK_SECONDS", 0.1)
    monkeypatch.setattr("rooms.fanout.connection.ABORT_SECONDS", DEADLINE)
    async with served() as raw:

        async def close(code: int) -> None:
            await raw.send({"type": "websocket.close", "code": code})

        stuck = Connection(Credential(uuid4()), transport_for(raw.send), close)
        for _ in range(2):  # the first fills the write buffer, the second waits
            stuck.send(b'{"type":"presence","x":"%b"}' % (b"x" * 2**23))
        await until(lambda: stuck.closed)
        end = b""
        while not end.endswith(TOO_SLOW.to_bytes(2, "big")):
            received = await raw.read(2**20)
            assert received, end
            end = (end + received)[-4:]

        assert end[:2] == bytes((LAST | CLOSE, 2))
