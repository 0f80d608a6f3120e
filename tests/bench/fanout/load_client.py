"""The load client: raw sockets on one epoll; it reads frames and checks their seqs.

It does as little work per frame as possible, so that it never limits the measurement: all sockets
of a room get the same bytes, which are parsed once. Each response contains its own CPU time; a row
is not valid if it used more than half of a core.
"""

import json
import os
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Any, Final

HANDSHAKE: Final = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: bWFydSBmYW4tb3V0IGtleQ==\r\n{headers}\r\n"
)
READ_BYTES: Final = 1 << 18
TEXT: Final = 0x81
PING: Final = 0x89
PONG: Final = 0x8A
SNAPSHOT: Final = b'{"type":"room.snapshot"'
JOINS_AT_ONCE: Final = 50
KNOWN_DATA: Final = 1_000
STORM_SECONDS: Final = 30.0
SILENCE_SECONDS: Final = 4.0
"""After this many seconds without a frame the client stops waiting for more."""


class ClientSocket:
    """One socket of one member, with the counts of its frames."""

    __slots__ = (
        "duplicates",
        "expected",
        "frames",
        "gaps",
        "handshake",
        "open",
        "rest",
        "room",
        "socket",
    )

    def __init__(
        self, port: int, room: int, handshake: bytes, raw: socket.socket | None = None
    ) -> None:
        self.room = room
        self.handshake = handshake
        self.rest = b""
        self.open = False
        self.socket = raw or socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(("127.0.0.1", port))
        self.reset()

    def reset(self) -> None:
        """Set all counts to zero."""
        self.expected = self.frames = self.gaps = self.duplicates = 0

    def count_seq(self, seq: int) -> None:
        """Compare a seq with the expected one and count a gap or a duplicate."""
        if seq > self.expected:
            self.gaps += seq - self.expected
        elif seq < self.expected:
            self.duplicates += 1
            return
        self.expected = seq + 1

    def frames_in(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield opcode and payload of each complete frame; keep an incomplete rest."""
        data = self.rest + data
        at, size = 0, len(data)
        while size - at >= 2:
            length, body = data[at + 1], at + 2
            if length >= 126:
                body += 2 if length == 126 else 8
                length = int.from_bytes(data[at + 2 : body], "big")
            if size < body + length:
                break
            yield data[at], data[body : body + length]
            at = body + length
        self.rest = data[at:]

    def send(self, opcode: int, payload: bytes) -> None:
        """Send a frame. Its masking key is zero, which RFC 6455 (section 5.3) does not exclude."""
        size = len(payload)
        header = bytes((opcode, 0x80 | size)) if size < 126 else b"%c\xfe" % opcode
        length = b"" if size < 126 else size.to_bytes(2, "big")
        self.socket.send(header + length + bytes(4) + payload)


class LoadClient:
    """All sockets of one server in one workload. Its public methods are the requests."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._epoll.register(sys.stdin.fileno(), select.EPOLLIN)
        self._sockets: dict[int, ClientSocket] = {}
        self._lines = b""

    def connect(
        self, port: int, path: str, sockets: Sequence[Any], concurrency: int, seconds: float
    ) -> dict[str, Any]:
        """Open sockets, at most `concurrency` handshakes at a time, for at most `seconds`."""
        began, waiting = time.monotonic(), list(sockets)[::-1]
        connecting: dict[int, ClientSocket] = {}
        failed: list[str] = []
        while (waiting or connecting) and time.monotonic() - began < seconds:
            while waiting and len(connecting) < concurrency:
                client = self._start(port, path, waiting.pop())
                connecting[client.socket.fileno()] = client
            for fd, event in self._epoll.poll(0.1):
                outcome = _continue_handshake(connecting[fd], event, self._epoll)
                if outcome is None:
                    continue
                # Frames for a connected socket are not read before all sockets are connected.
                self._epoll.unregister(fd)
                client = connecting.pop(fd)
                if outcome:
                    failed.append(outcome)
                    client.socket.close()
                else:
                    self._sockets[fd] = client
        took = time.monotonic() - began
        failed += ["no response"] * (len(connecting) + len(waiting))
        for client in connecting.values():
            self._epoll.unregister(client.socket.fileno())
            client.socket.close()
        for fd in self._sockets:
            self._epoll.register(fd, select.EPOLLIN)
        return {"opened": len(self._sockets), "failed": failed, "seconds": took}

    def _start(self, port: int, path: str, wanted: Any) -> ClientSocket:
        headers = "".join(f"{line}\r\n" for line in wanted["headers"])
        url = path.format(room=wanted["room"])
        handshake = HANDSHAKE.format(path=url, port=port, headers=headers).encode()
        client = ClientSocket(port, wanted["room"], handshake)
        self._epoll.register(client.socket.fileno(), select.EPOLLOUT)
        return client

    def join(self, rooms: Sequence[Any]) -> dict[str, Any]:
        """Join the room of each socket; return the milliseconds to each room.snapshot."""
        took: list[float] = []
        received = _Reception(SNAPSHOT)
        for number, client in enumerate(self._sockets.values(), start=1):
            began = time.perf_counter()
            command = {"type": "room.join", "ref": "join", "live": {}, **rooms[client.room]}
            client.send(TEXT, json.dumps(command).encode())
            while received.frames < number:
                self._read(received, 0.1)
                if not client.open:
                    raise ConnectionError("the server closed a socket before its snapshot")
            took.append((time.perf_counter() - began) * 1000)
        return {"took": took}

    def join_all(self, rooms: Sequence[Any]) -> dict[str, Any]:
        """Join the room of each socket, JOINS_AT_ONCE at a time."""
        received = _Reception(SNAPSHOT)
        for number, client in enumerate(self._sockets.values(), start=1):
            command = {"type": "room.join", "ref": "join", "live": {}, **rooms[client.room]}
            client.send(TEXT, json.dumps(command).encode())
            while received.frames <= number - JOINS_AT_ONCE:
                self._read(received, 0.1)
        while received.frames < len(self._sockets):
            self._read(received, 0.1)
        return {}

    def storm(self, rooms: Sequence[Any]) -> dict[str, Any]:
        """Join the room of each socket at once; return the seconds until all have a snapshot."""
        received = _Reception(SNAPSHOT)
        began = time.monotonic()
        for client in self._sockets.values():
            command = {"type": "room.join", "ref": "join", "live": {}, **rooms[client.room]}
            client.send(TEXT, json.dumps(command).encode())
        while received.frames < len(self._sockets):
            self._read(received, 0.1)
            if received.silence() > STORM_SECONDS:
                raise ConnectionError(f"{received.frames} of {len(self._sockets)} snapshots")
        seconds = time.monotonic() - began
        return {"joins": received.frames, "seconds": seconds, "bytes": received.bytes}

    def receive(self, prefix: str) -> dict[str, Any]:
        """Count the frames that start with `prefix` up to the number in a second request.

        The second request, `until`, has the number of frames and the times of sending.
        """
        for client in self._sockets.values():
            client.reset()
        received = _Reception(prefix.encode())
        began, cpu = time.monotonic(), time.process_time()
        until: dict[str, Any] = {}
        while not until or (
            received.frames < until["frames"] and received.silence() < SILENCE_SECONDS
        ):
            if self._read(received, 0.1):
                until = self.next_request(received)
        wall, cpu = time.monotonic() - began, time.process_time() - cpu
        clients = self._sockets.values()
        return {
            "frames": received.frames,
            "bytes": received.bytes,
            "gaps": sum(client.gaps for client in clients),
            "duplicates": sum(client.duplicates for client in clients),
            "core": cpu / wall,
            "seconds": wall,
            "delay": received.delays(until["sent"]),
        }

    def close(self) -> dict[str, Any]:
        """Close every socket."""
        for client in self._sockets.values():
            client.socket.close()  # which also removes it from the epoll
        self._sockets.clear()
        return {}

    def idle(self, seconds: float) -> dict[str, Any]:
        """Answer pings for some seconds; return the number of open sockets."""
        end = time.monotonic() + seconds
        received = _Reception(b"nothing")
        while (left := end - time.monotonic()) > 0:
            self._read(received, left)
        return {"open": sum(client.open for client in self._sockets.values())}

    def _read(self, received: "_Reception", seconds: float) -> bool:
        """Read from all sockets that have data; return True if standard input has data."""
        has_request = False
        for fd, _event in self._epoll.poll(seconds):
            if fd not in self._sockets:
                has_request = True
            elif not received.read(self._sockets[fd]):
                self._epoll.unregister(fd)
        return has_request

    def next_request(self, received: "_Reception | None" = None) -> Any:
        """Return the next line of standard input, decoded; None at its end.

        Answers pings while it waits: another server may be measured for longer than a ping timeout.
        """
        received = received or _Reception(b"nothing")
        while b"\n" not in self._lines:
            if not self._read(received, 1.0):
                continue
            more = os.read(sys.stdin.fileno(), 1 << 20)
            if not more:
                return None
            self._lines += more
        line, _, self._lines = self._lines.partition(b"\n")
        return json.loads(line)


_buffer = bytearray(READ_BYTES)  # `recv` would allocate as much for each read
_view = memoryview(_buffer)


@dataclass(slots=True)
class _Counted:
    """What is counted of some data: frames, their bytes and their seqs."""

    frames: int = 0
    bytes: int = 0
    seqs: tuple[int, ...] = ()


class _Reception:
    """The counted frames, their arrival times, and the time of the last data."""

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix
        self.frames = self.bytes = 0
        self._last = time.monotonic()
        self._arrivals: list[tuple[int, int, float]] = []
        self._known: dict[bytes, _Counted] = {}  # data of whole frames, none of them a ping

    def read(self, client: ClientSocket) -> bool:
        """Read once from a socket; return False at its end."""
        try:
            size = client.socket.recv_into(_buffer)
        except ConnectionError:
            size = 0
        if not size:
            client.open = False
            return False
        now = self._last = time.monotonic()
        data = bytes(_view[:size])
        counted = None if client.rest else self._known.get(data)
        if counted is None:
            counted = self._count(client, data)
        self.frames += counted.frames
        self.bytes += counted.bytes
        for seq in counted.seqs:
            if seq == client.expected:
                client.expected = seq + 1
            else:
                client.count_seq(seq)
            self._arrivals.append((client.room, seq, now))
        return True

    def _count(self, client: ClientSocket, data: bytes) -> _Counted:
        counted, is_whole = _Counted(), not client.rest
        for opcode, payload in client.frames_in(data):
            if opcode == PING:
                client.send(PONG, payload)
                is_whole = False
            elif payload.startswith(self._prefix):
                counted.frames += 1
                counted.bytes += len(payload)
                at = payload.find(b'"seq":') + 6
                if at > 5:
                    counted.seqs += (int(payload[at : payload.index(b",", at)]),)
        if is_whole and not client.rest:
            if len(self._known) >= KNOWN_DATA:
                self._known.clear()
            self._known[data] = counted
        return counted

    def silence(self) -> float:
        """Return the seconds since the last data."""
        return time.monotonic() - self._last

    def delays(self, sent: Sequence[Sequence[float]] | None) -> dict[str, float] | None:
        """Return p50 and p99 of the milliseconds from sending to arrival."""
        if sent is None or len(self._arrivals) < 2:
            return None
        delays = [
            (now - sent[room][seq]) * 1000
            for room, seq, now in self._arrivals
            if seq < len(sent[room])
        ]
        cuts = quantiles(delays, n=100)
        return {"p50": cuts[49], "p99": cuts[98]}


def _continue_handshake(client: ClientSocket, event: int, epoll: select.epoll) -> str | None:
    """Return None while the handshake lasts, "" when it has succeeded, else the reason."""
    try:
        if event & select.EPOLLOUT and client.handshake:
            client.socket.send(client.handshake)
            client.handshake = b""
            epoll.modify(client.socket.fileno(), select.EPOLLIN)
            return None
        client.rest += (data := client.socket.recv(READ_BYTES))
    except OSError as error:
        return type(error).__name__
    if not data:
        return "closed"
    head, end, rest = client.rest.partition(b"\r\n\r\n")
    if not end:
        return None
    client.rest = rest
    client.open = head.startswith(b"HTTP/1.1 101")
    return "" if client.open else head[:12].decode()


def main() -> None:
    """Handle one request per line of standard input."""
    client = LoadClient()
    while (fields := client.next_request()) is not None:
        action: Callable[..., Any] = getattr(client, fields.pop("do"))
        print(json.dumps(action(**fields)), flush=True)


if __name__ == "__main__":
    main()
