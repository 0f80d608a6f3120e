"""Runs the servers of this package on loopback, each in a thread with its own event loop."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.deadlines import DEADLINE


@dataclass
class Running:
    """A running server and the requests that it has got: method, path and headers."""

    port: int = 0
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    called: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}/mcp"

    def note(self, name: str, arguments: dict[str, Any]) -> None:
        """Record a call of a tool."""
        with self._changed:
            self.called.append((name, arguments))
            self._changed.notify_all()

    def wait_for_call(self, name: str) -> bool:
        """Wait until the tool has been called."""
        with self._changed:
            return self._changed.wait_for(
                lambda: any(called == name for called, _ in self.called), DEADLINE
            )

    def sent(self, header: str) -> list[str]:
        """Return the values of a header in all requests that had it."""
        return [headers[header] for _, _, headers in self.requests if header in headers]


@contextmanager
def serve(app: ASGIApp, running: Running | None = None) -> Iterator[Running]:
    """Run an app inside the context, and record its requests."""
    running = running or Running()

    async def recorded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            running.requests.append((scope["method"], scope["path"], headers))
        await app(scope, receive, send)

    config = uvicorn.Config(
        recorded,
        host="127.0.0.1",
        port=0,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)  # connections wait in the queue of the socket until the server runs
        running.port = listening.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            yield running
        finally:
            server.should_exit = True
            thread.join(DEADLINE)


async def until(happened: Callable[[], bool]) -> None:
    """Wait until `happened()` is true, at most DEADLINE."""
    async with asyncio.timeout(DEADLINE):
        while True:
            if happened():
                return
            await asyncio.sleep(0.01)
