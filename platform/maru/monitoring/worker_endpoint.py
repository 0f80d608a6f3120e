"""The HTTP endpoint of an agents worker, without Django: /healthz, /readyz and /metrics.

It runs on the event loop of the worker, so that /healthz does not answer while the loop is stuck.
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

import orjson
import uvicorn

from maru.monitoring.exposition import CONTENT_TYPE, may_read, metrics_text
from rooms.runs.runner import Runner

JSON: Final = "application/json"
CONNECTIONS: Final = 32

Answer = tuple[HTTPStatus, str, bytes]


class WorkerEndpoint:
    """An ASGI application about one runner."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        client, _port = scope["client"] or ("", 0)
        status, content_type, body = await self._answer(scope["method"], scope["path"], client)
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        content = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, method: str, path: str, client: str) -> Answer:
        if method not in ("GET", "HEAD"):
            return _json(HTTPStatus.METHOD_NOT_ALLOWED, code="invalid")
        match path:
            case "/healthz":
                return _json(HTTPStatus.OK, status="ok")
            case "/readyz" if self._runner.is_serving:
                return _json(HTTPStatus.OK, status="ok")
            case "/readyz":
                return _json(HTTPStatus.SERVICE_UNAVAILABLE, status="unavailable", reasons=["runs"])
            case "/metrics" if may_read(client):
                return HTTPStatus.OK, CONTENT_TYPE, await asyncio.to_thread(metrics_text)
        return _json(HTTPStatus.NOT_FOUND, code="not_found")


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the worker, which drains its answers."""
        yield


async def serve(listener: socket.socket, runner: Runner) -> None:
    """Serve the endpoint on an open listener until cancelled."""
    config = uvicorn.Config(
        WorkerEndpoint(runner),
        http="httptools",
        ws="none",
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        log_config=None,
        access_log=False,
    )
    await _Server(config).serve(sockets=[listener])


def _json(http_status: HTTPStatus, **body: object) -> Answer:
    return http_status, JSON, orjson.dumps(body)
