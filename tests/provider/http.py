"""A minimal HTTP/1.1 server (RFC 9112).

Written by hand, because a library cannot be made to fail in the ways that `faults` needs.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

BODY_LIMIT = 16 * 1024 * 1024
REASONS = {200: "OK", 307: "Temporary Redirect", 401: "Unauthorized", 404: "Not Found"}


@dataclass
class HttpRequest:
    """One HTTP request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON object; {} if it is not one."""
        try:
            value = json.loads(self.body or b"{}")
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def bearer(self) -> str:
        """The bearer token, or an empty string."""
        return self.headers.get("authorization", "").removeprefix("Bearer ").strip()

    @property
    def keeps_alive(self) -> bool:
        return self.headers.get("connection", "").lower() != "close"


async def read_request(reader: asyncio.StreamReader, start: bytes = b"") -> HttpRequest | None:
    """Return the next request on this connection, or None at its end.

    `start` is the part of the request that has been read already.
    """
    try:
        start = start or await reader.readexactly(1)
        if not start.isalpha():
            return None  # not HTTP, for example a TLS handshake
        head = start + await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines)
    }
    length = min(int(headers.get("content-length", "0")), BODY_LIMIT)
    return HttpRequest(method, path, headers, await reader.readexactly(length))


@dataclass
class ResponseWriter:
    """Writes one response: a whole body, or a chunked stream (RFC 9112 §7.1)."""

    writer: asyncio.StreamWriter
    chunks: int = field(default=0, init=False)

    async def json(self, status: int, value: object, **headers: str) -> None:
        """Send a JSON body."""
        await self.body(status, "application/json", json.dumps(value).encode(), **headers)

    async def body(self, status: int, kind: str, data: bytes, **headers: str) -> None:
        """Send a body of any content type."""
        self._head(status, {"Content-Type": kind, "Content-Length": str(len(data)), **headers})
        self.writer.write(data)
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
            await asyncio.sleep(0)  # drain() alone gives the loop no turn to detect a disconnect

    async def end(self) -> None:
        """End the stream with the last chunk."""
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    def cut(self) -> None:
        """Close the connection without the last chunk."""
        self.writer.close()

    def reset(self) -> None:
        """Reset the TCP connection."""
        self.writer.transport.abort()

    def _head(self, status: int, headers: dict[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
