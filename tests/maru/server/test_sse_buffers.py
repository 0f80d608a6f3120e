"""Send buffers of an event stream whose client does not read; the server runs in this process."""

import asyncio
import socket
from typing import Any
from uuid import uuid4

import pytest
import uvicorn

from maru.server.process import config
from rooms.fanout.connection import Connection
from rooms.fanout.credentials import Credential
from rooms.socket.sse import SseTransport
from tests.maru.server.test_websocket_protocol import until

LARGE_EVENT = b'{"type":"presence","x":"%b"}' % (b"x" * 2**23)


async def overfull_stream(scope: Any, receive: Any, send: Any) -> None:
    """Send more to one connection than all buffers hold, and wait until it is closed."""
    closed = asyncio.Event()

    async def close(code: int) -> None:
        closed.set()

    await send({"type": "http.response.start", "status": 200, "headers": []})
    connection = Connection(Credential(uuid4()), SseTransport(send, closed), close)
    connection.send(LARGE_EVENT)
    await connection.drained()
    connection.send(LARGE_EVENT)
    await closed.wait()


async def test_event_stream_of_a_client_that_does_not_read_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("STUCK_SECONDS", "ABORT_SECONDS"):
        monkeypatch.setattr(f"rooms.fanout.connection.{name}", 0.1)
    settings = config(overfull_stream, ())
    settings.lifespan = "off"
    server = uvicorn.Server(settings)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        client.connect(listener.getsockname())
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

        await until(lambda: bool(server.server_state.connections))
        await until(lambda: not server.server_state.connections)

        server.should_exit = True
        await serving
