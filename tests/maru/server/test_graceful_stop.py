"""A stop answers every request whose connection was open; the server runs in this process."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from maru.server.process import Server, config
from tests.deadlines import DEADLINE

POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok"
UPGRADE = (
    b"GET /ws/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
SERVICE_RESTART = b"\x88\x02" + (1012).to_bytes(2, "big")


class Stopping(Server):
    """A server to which a client connects in the moment of the stop."""

    backlog: socket.socket

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        assert sockets is not None
        self.backlog = socket.create_connection(sockets[0].getsockname())
        self.backlog.setblocking(False)
        self.backlog.send(POST)
        await super().shutdown(sockets)


class Application:
    """Answers 200 to requests; accepts WebSockets when `may_accept` is set."""

    def __init__(self) -> None:
        self.asked, self.may_accept = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        if scope["type"] == "lifespan":
            await send({"type": f"{message['type']}.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"answered"})
            return
        self.asked.set()
        await self.may_accept.wait()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass


@asynccontextmanager
async def stopping(application: Application, *sent: bytes) -> AsyncIterator[list[socket.socket]]:
    """Open a connection for each of `sent`; yield them, with that of the backlog, at the stop."""
    loop = asyncio.get_running_loop()
    server = Stopping(config(application, ()))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        clients = []
        for data in sent:
            clients.append(socket.create_connection(listener.getsockname()))
            clients[-1].setblocking(False)
            await loop.sock_sendall(clients[-1], data)
        async with asyncio.timeout(DEADLINE):
            while len(server.server_state.connections) < len(sent):  # noqa: ASYNC110 # no event
                await asyncio.sleep(0.01)
            if UPGRADE in sent:
                await application.asked.wait()
            server.should_exit = True
            while server.config.connections.is_draining is False:  # noqa: ASYNC110 # no event
                await asyncio.sleep(0.01)
            yield [*clients, server.backlog]
            await serving
        for client in (*clients, server.backlog):
            client.close()


async def read_to_end(client: socket.socket) -> bytes:
    received = b""
    while piece := await asyncio.get_running_loop().sock_recv(client, 65_536):
        received += piece
    return received


@pytest.mark.parametrize("earlier", [b"", POST[:20], POST[:-2]], ids=["none", "head", "body"])
async def test_request_that_arrives_after_the_stop_is_answered(earlier: bytes) -> None:
    async with stopping(Application(), earlier) as (client, backlog):
        await asyncio.sleep(0.1)
        await asyncio.get_running_loop().sock_sendall(client, POST[len(earlier) :])
        answers = [await read_to_end(client), await read_to_end(backlog)]

    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close\r\n" in answer
        assert b"answered" in answer


async def test_handshake_that_is_open_at_the_stop_is_completed_and_closed_with_1012() -> None:
    application = Application()
    async with stopping(application, UPGRADE) as (client, _backlog):
        await asyncio.sleep(0.1)
        application.may_accept.set()
        answer = await read_to_end(client)

    assert answer.startswith(b"HTTP/1.1 101 ")
    assert answer.endswith(SERVICE_RESTART)
