"""A client of a room's event stream over a plain TCP connection; it records every event."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from tests.deadlines import DEADLINE
from tests.live import Frame, Installation


@dataclass
class EventStream:
    """The response so far: status, headers, events with their ids, and the number of heartbeats."""

    reader: asyncio.StreamReader
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    events: list[Frame] = field(default_factory=list)
    ids: list[int | None] = field(default_factory=list)
    heartbeats: int = 0
    ended: bool = False

    async def read_head(self) -> None:
        """Read status and headers, and the whole body if the response is not an event stream."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.split("\r\n")
        self.status = int(status.split()[1])
        pairs = (line.partition(": ") for line in lines if line)
        self.headers = {name.lower(): value for name, _, value in pairs}
        if self.headers.get("content-type") != "text/event-stream":
            self.body = await self.reader.readexactly(int(self.headers["content-length"]))

    async def until(self, wanted: Callable[[Frame], bool], seconds: float = DEADLINE) -> Frame:
        """Return the first event for which `wanted` is true, received already or not."""
        async with asyncio.timeout(seconds):
            seen = 0
            while True:
                for event in self.events[seen:]:
                    if wanted(event):
                        return event
                seen = len(self.events)
                assert await self._read(), "the stream has ended"

    async def until_type(self, kind: str) -> Frame:
        return await self.until(lambda event: event["type"] == kind)

    async def until_end(self, seconds: float = DEADLINE) -> None:
        """Read to the end of the stream."""
        async with asyncio.timeout(seconds):
            while await self._read():
                pass

    async def _read(self) -> bool:
        """Read one chunk; return False at the end of the stream."""
        line = await self.reader.readline()
        size = int(line, 16) if line else 0
        if not size:
            self.ended = True
            return False
        self.body += (await self.reader.readexactly(size + 2))[:-2]
        *whole, self.body = self.body.split(b"\n\n")
        for event in whole:
            self._take(event.decode())
        return True

    def _take(self, text: str) -> None:
        fields = dict(line.partition(": ")[::2] for line in text.split("\n"))
        if "data" not in fields:
            self.heartbeats += 1
            return
        self.events.append(json.loads(fields["data"]))
        self.ids.append(int(fields["id"]) if "id" in fields else None)


@asynccontextmanager
async def event_stream(
    installation: Installation, room: str, token: str, query: str = "?after=0", **headers: str
) -> AsyncIterator[EventStream]:
    """Open the stream of a room with a bearer token."""
    reader, writer = await asyncio.open_connection("127.0.0.1", installation.port, limit=2**22)
    lines = [
        f"GET /api/v1/rooms/{room}/stream{query} HTTP/1.1",
        f"Host: 127.0.0.1:{installation.port}",
        f"Authorization: Bearer {token}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    stream = EventStream(reader)
    try:
        await stream.read_head()
        yield stream
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
