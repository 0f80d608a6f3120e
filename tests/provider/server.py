"""The stub's server: takes requests, remembers them, counts connections, and lets models answer."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ssl import SSLContext
from time import monotonic
from typing import Any

from tests.provider import models
from tests.provider.http import Asked, Reply, read_request


@dataclass
class Request:
    """One call of the chat endpoint, as tests look at it."""

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
        """Everything that the model was told, in one string."""
        return "\n".join(str(message.get("content")) for message in self.messages)


@dataclass
class Provider:
    """The stub's memory. Its server lives on a loop of its own, so every look takes the lock."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    hits: list[str] = field(default_factory=list)
    connections: int = 0
    _served: set[bytes] = field(default_factory=set)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    _loop: asyncio.AbstractEventLoop | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def forget(self) -> None:
        """Start a test with an empty memory."""
        with self._changed:
            self.requests.clear()
            self.hits.clear()
            self._served.clear()

    def release(self) -> None:
        """Let every `held` answer that has begun go on."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._release)

    def _release(self) -> None:
        self._released.set()
        self._released = asyncio.Event()

    async def until(self, happened: Callable[["Provider"], bool], seconds: float = 5.0) -> bool:
        """Wait until `happened(provider)` is true; say whether it became so in time."""
        return await asyncio.to_thread(self.wait, happened, seconds)

    def wait(self, happened: Callable[["Provider"], bool], seconds: float = 5.0) -> bool:
        """The same for a test without a loop."""
        with self._changed:
            return self._changed.wait_for(lambda: happened(self), seconds)

    def state(self) -> dict[str, Any]:
        """What `/_stub/state` tells."""
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
        """Begin to listen; the caller closes what this returns."""
        server = await asyncio.start_server(
            self._connection, host, port, limit=2**20, backlog=1024, ssl=tls
        )
        self._loop = asyncio.get_running_loop()
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._note(connections=1)
        try:
            early = b""
            while asked := await read_request(reader, early):
                early = await self._answer(asked, reader, Reply(writer))
                if not asked.keeps_alive or writer.is_closing():
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the client has left; `_answer` has noted when
        finally:
            writer.close()
            self._note(connections=-1)

    async def _answer(self, asked: Asked, reader: asyncio.StreamReader, reply: Reply) -> bytes:
        """Answer one request; return what came in of the next one meanwhile."""
        if asked.path == "/v1/chat/completions" and asked.method == "POST":
            return await self._complete(asked, reader, reply)
        if asked.path == "/v1/models" and asked.method == "GET":
            await models.list_models(asked, reply)
        elif asked.path == "/_stub/state":
            await reply.json(200, self.state())
        elif asked.path == "/_stub/requests":
            await reply.json(200, [request.body for request in self.requests])
        elif asked.path.startswith("/elsewhere/"):
            self._note(hit=asked.path)
            await reply.whole(307, "text/plain", b"", Location="/_stub/trap")
        elif asked.path.startswith("/site/"):
            await reply.whole(200, "text/html", b"<html>Welcome</html>")
        else:
            self._note(hit=asked.path)
            await reply.json(404, {"error": {"message": f"Unknown path {asked.path}"}})
        return b""

    async def _complete(self, asked: Asked, reader: asyncio.StreamReader, reply: Reply) -> bytes:
        """Run the model while watching for the client to leave: some models never write."""
        request, first = self._remember(asked)
        answering = asyncio.ensure_future(
            models.answer(asked, reply, first=first, released=self._released)
        )
        watching = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done() and watching.result() == b"" and not answering.done():
                request.client_left_at = monotonic()
                return b""
            await answering
            return watching.result() if watching.done() else b""
        except ConnectionError:
            request.client_left_at = monotonic()
            raise
        finally:
            answering.cancel()
            watching.cancel()
            await asyncio.gather(answering, watching, return_exceptions=True)
            request.chunks = reply.chunks
            request.ended = True
            self._note()

    def _remember(self, asked: Asked) -> tuple[Request, bool]:
        """Keep the request; say whether this very body was asked for the first time."""
        body = asked.json()
        request = Request(str(body.get("model", "")), asked.headers, body, monotonic())
        with self._changed:
            first = asked.body not in self._served
            self._served.add(asked.body)
            self.requests.append(request)
            self._changed.notify_all()
        return request, first

    def _note(self, *, connections: int = 0, hit: str | None = None) -> None:
        with self._changed:
            self.connections += connections
            if hit:
                self.hits.append(hit)
            self._changed.notify_all()


@contextmanager
def running(port: int = 0, tls: SSLContext | None = None) -> Iterator[Provider]:
    """Run a provider on a thread of its own, on a free port of the loopback address."""
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
    ready.wait(10)
    try:
        yield provider
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(5)
