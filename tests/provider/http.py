"""As much HTTP/1.1 as the stub needs, written by hand: a library would not let us break it."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

BODY_LIMIT = 16 * 1024 * 1024
REASONS = {200: "OK", 307: "Temporary Redirect", 401: "Unauthorized", 404: "Not Found"}


@dataclass
class Asked:
    """One HTTP request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """Return the body as an object; an empty one where it is not."""
        try:
            value = json.loads(self.body or b"{}")
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def bearer(self) -> str:
        """The key that the caller showed, or an empty string."""
        return self.headers.get("authorization", "").removeprefix("Bearer ").strip()

    @property
    def keeps_alive(self) -> bool:
        return self.headers.get("connection", "").lower() != "close"


async def read_request(reader: asyncio.StreamReader, early: bytes = b"") -> Asked | None:
    """Return the next request on this connection, or None at its end; `early` is its first part."""
    try:
        early = early or await reader.readexactly(1)
        if not early.isalpha():
            return None  # TLS, for one
        head = early + await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines)
    }
    length = min(int(headers.get("content-length", "0")), BODY_LIMIT)
    return Asked(method, path, headers, await reader.readexactly(length))


@dataclass
class Reply:
    """The way back to one caller: whole answers, or a stream in chunks."""

    writer: asyncio.StreamWriter
    chunks: int = field(default=0, init=False)

    async def json(self, status: int, value: object, **headers: str) -> None:
        """Send one whole JSON document."""
        await self.whole(status, "application/json", json.dumps(value).encode(), **headers)

    async def whole(self, status: int, kind: str, body: bytes, **headers: str) -> None:
        """Send one whole body of any content type."""
        self._head(status, {"Content-Type": kind, "Content-Length": str(len(body)), **headers})
        self.writer.write(body)
        await self.writer.drain()

    async def start(self, kind: str = "text/event-stream") -> None:
        """Send the head of a chunked stream."""
        self._head(200, {"Content-Type": kind, "Transfer-Encoding": "chunked"})
        await self.writer.drain()

    async def chunk(self, data: bytes) -> None:
        """Send one chunk of the stream."""
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self.writer.drain()
        self.chunks += 1
        if self.chunks % 32 == 0:
            await asyncio.sleep(0)  # drain alone does not let the loop see that the client left

    async def end(self) -> None:
        """End the stream as the protocol wants it."""
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    def cut(self) -> None:
        """End the connection in the middle of everything."""
        self.writer.close()

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self.writer.transport.abort()

    def _head(self, status: int, headers: dict[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
