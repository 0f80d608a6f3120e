"""The load client: raw sockets on one epoll, which reads frames and checks their seqs.

It does as little as can be for each frame, so that it is never what is measured: its own CPU is
in every answer, and a row for which it used more than half of a core does not count.
"""

import json
import os
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import quantiles
from typing import Any, Final

HANDSHAKE: Final = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: bWFydSBmYW4tb3V0IGtleQ==\r\n{headers}\r\n"
)
READ: Final = 1 << 18
TEXT: Final = 0x81
PING: Final = 0x89
PONG: Final = 0x8A
SNAPSHOT: Final = b'{"type":"room.snapshot"'
QUIET: Final = 4.0
"""Seconds without a frame after which no more is waited for."""


class Ear:
    """One socket of one member."""

    __slots__ = ("doubles", "expected", "frames", "gaps", "hello", "open", "rest", "room", "socket")

    def __init__(
        self, port: int, room: int, hello: bytes, raw: socket.socket | None = None
    ) -> None:
        self.room = room
        self.hello = hello
        self.rest = b""
        self.open = False
        self.socket = raw or socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(("127.0.0.1", port))
        self.forget()

    def forget(self) -> None:
        """Begin to count afresh."""
        self.expected = self.frames = self.gaps = self.doubles = 0

    def place(self, seq: int) -> None:
        """Compare a seq with the one that is due."""
        if seq > self.expected:
            self.gaps += seq - self.expected
        elif seq < self.expected:
            self.doubles += 1
            return
        self.expected = seq + 1

    def messages(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Return what is complete of the frames that have come: opcode and payload."""
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

    def say(self, opcode: int, payload: bytes) -> None:
        """Send a frame, masked by zeros: nobody notices."""
        size = len(payload)
        header = bytes((opcode, 0x80 | size)) if size < 126 else b"%c\xfe" % opcode
        length = b"" if size < 126 else size.to_bytes(2, "big")
        self.socket.send(header + length + bytes(4) + payload)


class Client:
    """All sockets of one contender in one workload."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._epoll.register(sys.stdin.fileno(), select.EPOLLIN)
        self._ears: dict[int, Ear] = {}
        self._lines = b""

    def connect(
        self, port: int, path: str, sockets: Sequence[Any], at_once: int, seconds: float
    ) -> dict[str, Any]:
        """Open sockets, so many at a time; say how many were let in, and how long it took."""
        began, waiting = time.monotonic(), list(sockets)[::-1]
        dialling: dict[int, Ear] = {}
        failed: list[str] = []
        while (waiting or dialling) and time.monotonic() - began < seconds:
            while waiting and len(dialling) < at_once:
                ear = self._dial(port, path, waiting.pop())
                dialling[ear.socket.fileno()] = ear
            for fd, event in self._epoll.poll(0.1):
                outcome = _shake_hands(dialling[fd], event, self._epoll)
                if outcome is None:
                    continue
                # Whatever is sent to those who are in already waits until all are.
                self._epoll.unregister(fd)
                ear = dialling.pop(fd)
                if outcome:
                    failed.append(outcome)
                    ear.socket.close()
                else:
                    self._ears[fd] = ear
        took = time.monotonic() - began
        failed += ["no answer"] * (len(dialling) + len(waiting))
        for ear in dialling.values():
            self._epoll.unregister(ear.socket.fileno())
            ear.socket.close()
        for fd in self._ears:
            self._epoll.register(fd, select.EPOLLIN)
        return {"opened": len(self._ears), "failed": failed, "seconds": took}

    def _dial(self, port: int, path: str, wanted: Any) -> Ear:
        headers = "".join(f"{line}\r\n" for line in wanted["headers"])
        place = path.format(room=wanted["room"])
        hello = HANDSHAKE.format(path=place, port=port, headers=headers).encode()
        ear = Ear(port, wanted["room"], hello)
        self._epoll.register(ear.socket.fileno(), select.EPOLLOUT)
        return ear

    def join(self, rooms: Sequence[Any]) -> dict[str, Any]:
        """Join each socket's room; return how long each answer took, in milliseconds."""
        took: list[float] = []
        heard = _Hearing(SNAPSHOT)
        for number, ear in enumerate(self._ears.values(), start=1):
            began = time.perf_counter()
            command = {"type": "room.join", "ref": "join", "live": {}, **rooms[ear.room]}
            ear.say(TEXT, json.dumps(command).encode())
            while heard.frames < number:
                self._read(heard, 0.1)
                if not ear.open:
                    raise ConnectionError("closed while it waited for a snapshot")
            took.append((time.perf_counter() - began) * 1000)
        return {"took": took}

    def hear(self, mark: str) -> dict[str, Any]:
        """Count frames that begin with `mark` until told until when, and judge what has come."""
        for ear in self._ears.values():
            ear.forget()
        heard = _Hearing(mark.encode())
        began, worked = time.monotonic(), time.process_time()
        until: dict[str, Any] = {}
        while not until or (heard.frames < until["frames"] and heard.silence() < QUIET):
            if self._read(heard, 0.1):
                until = self.line(heard)
        wall, cpu = time.monotonic() - began, time.process_time() - worked
        ears = self._ears.values()
        return {
            "frames": heard.frames,
            "bytes": heard.bytes,
            "gaps": sum(ear.gaps for ear in ears),
            "doubles": sum(ear.doubles for ear in ears),
            "core": cpu / wall,
            "seconds": wall,
            "late": heard.lateness(until["sent"]),
        }

    def close(self) -> dict[str, Any]:
        """Drop every socket."""
        for ear in self._ears.values():
            ear.socket.close()  # which takes it off the epoll, too
        self._ears.clear()
        return {}

    def idle(self, seconds: float) -> dict[str, Any]:
        """Answer pings for a while, and say how many sockets are still there."""
        end = time.monotonic() + seconds
        heard = _Hearing(b"nothing")
        while (left := end - time.monotonic()) > 0:
            self._read(heard, left)
        return {"open": sum(ear.open for ear in self._ears.values())}

    def _read(self, heard: "_Hearing", seconds: float) -> bool:
        """Take what has come to any socket; return whether we were told something, too."""
        told = False
        for fd, _event in self._epoll.poll(seconds):
            if fd not in self._ears:
                told = True
            elif not heard.read(self._ears[fd]):
                self._epoll.unregister(fd)
        return told

    def line(self, heard: "_Hearing | None" = None) -> Any:
        """Return the next thing that we are told; None at the end or where it is not whole.

        Pings are answered meanwhile: others may be measured for longer than a server waits.
        """
        heard = heard or _Hearing(b"nothing")
        while b"\n" not in self._lines:
            if not self._read(heard, 1.0):
                continue
            more = os.read(sys.stdin.fileno(), 1 << 20)
            if not more:
                return None
            self._lines += more
        line, _, self._lines = self._lines.partition(b"\n")
        return json.loads(line)


class _Hearing:
    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self.frames = self.bytes = 0
        self._last = time.monotonic()
        self._arrivals: list[tuple[int, int, float]] = []

    def read(self, ear: Ear) -> bool:
        """Take what has come to a socket; False at its end."""
        try:
            data = ear.socket.recv(READ)
        except ConnectionError:
            data = b""
        if not data:
            ear.open = False
            return False
        now = self._last = time.monotonic()
        for opcode, payload in ear.messages(data):
            if opcode == PING:
                ear.say(PONG, payload)
            elif payload.startswith(self._mark):
                self.frames += 1
                self.bytes += len(payload)
                at = payload.find(b'"seq":') + 6
                if at > 5:
                    seq = int(payload[at : payload.index(b",", at)])
                    ear.place(seq)
                    self._arrivals.append((ear.room, seq, now))
        return True

    def silence(self) -> float:
        """Return for how many seconds nothing has come."""
        return time.monotonic() - self._last

    def lateness(self, sent: Sequence[Sequence[float]] | None) -> dict[str, float] | None:
        """Return how long after they were sent frames came, in milliseconds."""
        if sent is None or len(self._arrivals) < 2:
            return None
        late = [
            (now - sent[room][seq]) * 1000
            for room, seq, now in self._arrivals
            if seq < len(sent[room])
        ]
        cuts = quantiles(late, n=100)
        return {"p50": cuts[49], "p99": cuts[98]}


def _shake_hands(ear: Ear, event: int, epoll: select.epoll) -> str | None:
    """Go on with a handshake: None while it lasts, empty once let in, else why not."""
    try:
        if event & select.EPOLLOUT and ear.hello:
            ear.socket.send(ear.hello)
            ear.hello = b""
            epoll.modify(ear.socket.fileno(), select.EPOLLIN)
            return None
        ear.rest += (data := ear.socket.recv(READ))
    except OSError as error:
        return type(error).__name__
    if not data:
        return "closed"
    head, end, rest = ear.rest.partition(b"\r\n\r\n")
    if not end:
        return None
    ear.rest = rest
    ear.open = head.startswith(b"HTTP/1.1 101")
    return "" if ear.open else head[:12].decode()


def main() -> None:
    """Do what is said, one line after the other."""
    client = Client()
    while (said := client.line()) is not None:
        do: Callable[..., Any] = getattr(client, said.pop("do"))
        print(json.dumps(do(**said)), flush=True)


if __name__ == "__main__":
    main()
