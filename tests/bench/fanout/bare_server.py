"""The bare limit: an asyncio server under uvloop that writes one prebuilt frame to every socket.

It has rooms, which are URL paths, and nothing else: no users, no order, no gap detection, no Redis.
Its cost is the cost of the kernel and of the event loop.
"""

import asyncio
import json
import sys
from base64 import b64encode
from collections import defaultdict
from hashlib import sha1
from typing import Any, Final

import uvloop

from rooms.fanout.transport import Frame

GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3

rooms: defaultdict[int, list[asyncio.Transport]] = defaultdict(list)


class Socket(asyncio.Protocol):
    """Answers the WebSocket handshake and ignores everything that follows."""

    def __init__(self) -> None:
        self._head = b""

    def connection_made(self, transport: Any) -> None:  # uvloop's class is not an asyncio.Transport
        self._transport: asyncio.Transport = transport

    def data_received(self, data: bytes) -> None:
        self._head += data
        if not self._head.endswith(b"\r\n\r\n"):
            return
        lines = self._head.split(b"\r\n")
        self._room = int(lines[0].split()[1][1:])
        key = next(line.split()[1] for line in lines if line.lower().startswith(b"sec-websocket-k"))
        accept = b64encode(sha1(key + GUID, usedforsecurity=False).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        rooms[self._room].append(self._transport)
        self._head = b""

    def connection_lost(self, error: Exception | None) -> None:
        if hasattr(self, "_room"):
            rooms[self._room].remove(self._transport)


async def stream(frames: int, interval: float, size: int) -> dict[str, Any]:
    """Write `frames` frames of `size` bytes to every room; the rooms are spread over `interval`."""
    head = b'{"type":"message.delta","text":"'
    wire = Frame.of(head + b"x" * (size - len(head) - 2) + b'"}').wire
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    began, ticks = loop.time() + 0.05, frames * len(rooms)

    def tick(number: int, phase: float, sockets: list[asyncio.Transport]) -> None:
        nonlocal ticks
        for socket in sockets:
            socket.write(wire)
        ticks -= 1
        if number + 1 < frames:
            loop.call_at(began + phase + (number + 1) * interval, tick, number + 1, phase, sockets)
        elif not ticks:
            done.set()

    for index, sockets in enumerate(rooms.values()):
        phase = interval * index / len(rooms)
        loop.call_at(began + phase, tick, 0, phase, sockets)
    await done.wait()
    return {"frames": frames * sum(len(sockets) for sockets in rooms.values())}


async def main() -> None:
    """Print the port, then handle one request per line of standard input."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Socket, "127.0.0.1", 0, backlog=2_048)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        fields = json.loads(line)
        fields.pop("do")
        print(json.dumps(await stream(**fields)), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
