"""Proxies that cut or record a connection, and a client that reconnects and resumes."""

import asyncio
import json
import random
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tests.compact import BOTH
from tests.live import CLIENT_OPTIONS, MARU_V1, Frame, Person, PopulatedRoom
from tests.wire.server import DeliveryLog, WireClient
from tests.wire.timeline import Timeline

TEXT: Final = 0x81  # a text message in one frame (RFC 6455 §5.2)


class CuttingProxy:
    """A TCP proxy that forwards a random number of bytes from the server and then aborts."""

    def __init__(self, port: int, generator: random.Random) -> None:
        self.port = 0
        self._server_port = port
        self._chance = generator
        self._carrying: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator["CuttingProxy"]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await asyncio.gather(*self._carrying)

    def _connected(
        self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter
    ) -> None:
        # The task that `start_server` makes of a coroutine cannot be awaited: create one here.
        task = asyncio.create_task(self._carry(client_reader, client_writer))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _carry(
        self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter
    ) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        upload = asyncio.create_task(self._pass(client_reader, server_writer, None))
        download = asyncio.create_task(
            self._pass(server_reader, client_writer, self._chance.randint(150, 7_000))
        )
        await asyncio.wait({upload, download}, return_when=asyncio.FIRST_COMPLETED)
        for task in (upload, download):
            task.cancel()
        await asyncio.gather(upload, download, return_exceptions=True)
        for writer in (server_writer, client_writer):
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def _pass(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, most: int | None
    ) -> None:
        while most is None or most > 0:
            data = await source.read(2**16 if most is None else min(most, 2**16))
            if not data:
                return
            most = None if most is None else most - len(data)
            target.write(data)
            await target.drain()


class RecordingProxy:
    """A TCP proxy that records every byte from the server."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.bytes = b""
        self._server_port = port

    @asynccontextmanager
    async def open(self) -> AsyncIterator["RecordingProxy"]:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _carry(
        self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter
    ) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        upload = asyncio.create_task(self._ask(client_reader, server_writer))
        try:
            while data := await server_reader.read(2**16):
                self.bytes += data
                client_writer.write(data)
        finally:
            upload.cancel()
            server_writer.close()
            client_writer.close()

    async def _ask(
        self, client_reader: asyncio.StreamReader, server_writer: asyncio.StreamWriter
    ) -> None:
        while data := await client_reader.read(2**16):
            server_writer.write(data)

    def prefixes(self) -> list[list[Frame]]:
        """Return each list of frames that a client may have after a cut, without duplicates."""
        ends, frames = [], []
        for end, frame in _frames_in(self.bytes):
            ends.append(end)
            frames.append(frame)
        whole = {bisect_right(ends, cut) for cut in range(len(self.bytes) + 1)}
        return [frames[:number] for number in sorted(whole)]


def _frames_in(stream: bytes) -> Iterator[tuple[int, Frame]]:
    """Yield each frame that the server sent after the handshake, with the offset of its end."""
    at = stream.index(b"\r\n\r\n") + 4
    while at < len(stream):
        opcode, size = stream[at : at + 2]
        at += 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size = int.from_bytes(stream[at : at + width], "big")
            at += width
        if opcode == TEXT:
            yield at + size, json.loads(stream[at : at + size])
        at += size


@dataclass
class ReconnectingClient:
    """A client that reconnects after every cut, and all frames that it received.

    Each connection has one of both subprotocols.
    """

    room: PopulatedRoom
    person: Person
    ways: Sequence[CuttingProxy]
    deliveries: DeliveryLog = field(default_factory=DeliveryLog)
    chance: random.Random = field(default_factory=random.Random)
    timeline: Timeline = field(default_factory=Timeline)
    frames: list[Frame] = field(default_factory=list)
    connections: int = 0

    async def follow(self, run: str) -> None:
        """Reconnect until the run has ended."""
        while not self.has_end_of(run):
            self.connections += 1
            try:
                await self._stay(run)
            except (OSError, EOFError, WebSocketException):
                continue

    async def _stay(self, run: str) -> None:
        async with connect(
            f"ws://127.0.0.1:{self.chance.choice(self.ways).port}/ws/",
            additional_headers={"Authorization": f"Bearer {self.person.token}"},
            subprotocols=self.chance.choice(([MARU_V1], BOTH)),
            **CLIENT_OPTIONS,
            close_timeout=0.1,
        ) as connection:
            client = WireClient(connection, self.deliveries, self.person.token)
            await self._join(client)
            while not self.has_end_of(run):
                self._take(await client.receive())
                if self.timeline.gap:
                    await self._join(client)

    def has_end_of(self, run: str) -> bool:
        """Return True if the client has received the end of the run, by event or by snapshot."""
        return self.stored(run) is not None and run not in self.timeline.runs

    def stored(self, run: str) -> str | None:
        """Return the stored text of the run's answer if it has ended, or None."""
        if run in self.timeline.ended:
            return self.timeline.ended[run].stored
        for message in self.timeline.messages.values():
            if message["run"] == run and message["status"] != "streaming":
                return str(message["text"])
        return None

    async def _join(self, client: WireClient) -> None:
        await client.send_raw(
            {"type": "room.join", "ref": "again", "room": self.room.id, **self.timeline.join()}
        )
        while True:
            frame = await client.receive()
            self._take(frame)
            if frame["type"] == "room.snapshot":
                return

    def _take(self, frame: Frame) -> None:
        self.frames.append(frame)
        self.timeline.apply(frame)


def timeline_at(snapshot: Frame) -> Timeline:
    """Return the timeline of a client that has received only this snapshot."""
    timeline = Timeline()
    timeline.apply(snapshot)
    return timeline
