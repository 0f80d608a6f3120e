"""The server of the stub provider: records requests, counts connections, calls the models."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ssl import SSLContext
from time import monotonic
from typing import Any

from tests.deadlines import DEADLINE
from tests.provider import models
from tests.provider.http import HttpRequest, ResponseWriter, read_request


@dataclass
class Request:
    """The record of one request to the chat endpoint; times are values of `time.monotonic`."""

    model: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float
    client_left_at: float | None = None
    chunks: int = 0
    ended: bool = False

    @property
    def messages(self) -> list[dict[str, Any]]:
        return list(self.body.get("messages", []))

    @property
    def prompt(self) -> str:
        """The contents of all messages, as one string."""
        return "\n".join(str(message.get("content")) for message in self.messages)


@dataclass
class Provider:
    """The stub provider and its records, behind a lock: the server runs in another thread."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    hits: list[str] = field(default_factory=list)
    connections: int = 0
    _seen: set[str] = field(default_factory=set)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    _loop: asyncio.AbstractEventLoop | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def clear(self) -> None:
        """Delete all records."""
        with self._changed:
            self.requests.clear()
            self.hits.clear()
            self._seen.clear()

    def release(self) -> None:
        """Let the answers that wait (models `held`, `canary-held`, `sample`) continue."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._release)

    def _release(self) -> None:
        self._released.set()
        self._released = asyncio.Event()

    async def until(
        self, happened: Callable[["Provider"], bool], seconds: float = DEADLINE
    ) -> bool:
        """Wait until `happened(provider)` is true; return False after `seconds`."""
        return await asyncio.to_thread(self.wait, happened, seconds)

    def wait(self, happened: Callable[["Provider"], bool], seconds: float = DEADLINE) -> bool:
        """Like `until`, but blocking."""
        with self._changed:
            return self._changed.wait_for(lambda: happened(self), seconds)

    def state(self) -> dict[str, Any]:
        """Return the body of `/_stub/state`."""
        with self._changed:
            return {
                "connections": self.connections,
                "requests": len(self.requests),
                "streaming": sum(not request.ended for request in self.requests),
                "left": sum(request.client_left_at is not None for request in self.requests),
                "hits": list(self.hits),
            }

    async def serve(
        self, host: str = "127.0.0.1", port: int = 0, tls: SSLContext | None = None
    ) -> asyncio.Server:
        """Start to listen. The caller closes the returned server."""
        server = await asyncio.start_server(
            self._connection, host, port, limit=2**20, backlog=1024, ssl=tls
        )
        self._loop = asyncio.get_running_loop()
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._note(connections=1)
        try:
            rest = b""
            while request := await read_request(reader, rest):
                rest = await self._answer(request, reader, ResponseWriter(writer))
                if not request.keeps_alive or writer.is_closing():
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the client has disconnected; `_complete` has recorded the time
        finally:
            writer.close()
            self._note(connections=-1)

    async def _answer(
        self, request: HttpRequest, reader: asyncio.StreamReader, response: ResponseWriter
    ) -> bytes:
        """Answer one request; return the bytes of the next request that have been read already."""
        if request.path == "/v1/chat/completions" and request.method == "POST":
            return await self._complete(request, reader, response)
        if request.path == "/v1/models" and request.method == "GET":
            await models.list_models(request, response)
        elif request.path == "/_stub/state":
            await response.json(200, self.state())
        elif request.path == "/_stub/requests":
            await response.json(200, [request.body for request in self.requests])
        elif request.path.startswith("/elsewhere/"):
            self._note(hit=request.path)
            await response.body(307, "text/plain", b"", Location="/_stub/trap")
        elif request.path.startswith("/site/"):
            await response.body(200, "text/html", b"<html>Welcome</html>")
        else:
            self._note(hit=request.path)
            await response.json(404, {"error": {"message": f"Unknown path {request.path}"}})
        return b""

    async def _complete(
        self, request: HttpRequest, reader: asyncio.StreamReader, response: ResponseWriter
    ) -> bytes:
        """Run the model and wait for a disconnect: a model that never writes cannot detect it."""
        record, first = self._record(request)
        answer = asyncio.ensure_future(
            models.answer(request, response, first=first, released=self._released)
        )
        disconnect = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({answer, disconnect}, return_when=asyncio.FIRST_COMPLETED)
            if disconnect.done() and disconnect.result() == b"" and not answer.done():
                record.client_left_at = monotonic()
                return b""
            await answer
            return disconnect.result() if disconnect.done() else b""
        except ConnectionError:
            record.client_left_at = monotonic()
            raise
        finally:
            answer.cancel()
            disconnect.cancel()
            await asyncio.gather(answer, disconnect, return_exceptions=True)
            record.chunks = response.chunks
            record.ended = True
            self._note()

    def _record(self, request: HttpRequest) -> tuple[Request, bool]:
        """Record the request; return the record, and whether its conversation is new."""
        body = request.json()
        record = Request(str(body.get("model", "")), request.headers, body, monotonic())
        with self._changed:
            conversation = _conversation(body)
            first = conversation not in self._seen
            self._seen.add(conversation)
            self.requests.append(record)
            self._changed.notify_all()
        return record, first

    def _note(self, *, connections: int = 0, hit: str | None = None) -> None:
        with self._changed:
            self.connections += connections
            if hit:
                self.hits.append(hit)
            self._changed.notify_all()


@contextmanager
def running(port: int = 0, tls: SSLContext | None = None) -> Iterator[Provider]:
    """Run a provider in a thread, on a port of the loopback address (0: a free one)."""
    provider = Provider()
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stopped = asyncio.Event()

    async def main() -> None:
        server = await provider.serve(port=port, tls=tls)
        ready.set()
        await stopped.wait()
        server.close()

    def run() -> None:
        loop.run_until_complete(main())
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=run, name="provider", daemon=True)
    thread.start()
    assert ready.wait(DEADLINE), "the stub provider did not start"
    try:
        yield provider
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(DEADLINE)


def _conversation(body: Any) -> str:
    """Return what a repeated request has in common with the first: not the facts about the room."""
    messages = body.get("messages") or []
    said = [m for m in messages if not str(m.get("content")).startswith("[room]\n")]
    return json.dumps([body.get("model"), said], ensure_ascii=False)
