"""A client that does not read its response is disconnected; the server runs in this process."""

import asyncio
import socket
from typing import Any

import pytest
import uvicorn

from maru.server.process import config
from tests.deadlines import DEADLINE
from tests.maru.server.test_websocket_protocol import until

MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
@pytest.mark.parametrize("size", [8 * MEBIBYTE, 2 * MEBIBYTE + 40_000])
async def test_client_that_reads_no_response_is_disconnected(
    monkeypatch: pytest.MonkeyPatch, size: int, connection: str
) -> None:
    asked = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        asked.set()
        headers = [(b"content-length", str(size).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * size})

    monkeypatch.setattr("maru.server.http_protocol.WRITE_SECONDS", 0.3)
    settings = config(application, ())
    settings.lifespan = "off"
    settings.timeout_keep_alive = 1
    server = uvicorn.Server(settings)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        client.connect(listener.getsockname())
        client.sendall(f"GET / HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\n\r\n".encode())

        async with asyncio.timeout(DEADLINE):
            await asked.wait()
            await until(lambda: not server.server_state.connections)

        server.should_exit = True
        await serving
