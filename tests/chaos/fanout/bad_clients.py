"""Clients that do not read, send too much, or no longer respond.

An answer streams in a room. The delay of each delta to the ordinary members is measured with and
without bad clients in the room, in turns. The sockets of the ordinary members are in one process
that does almost no work per frame; the answer comes from a worker without a model.
"""

import json
import select
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.bench.fanout.json_process import JsonProcess
from tests.bench.fanout.load_client import HANDSHAKE, SNAPSHOT, TEXT, ClientSocket
from tests.bench.fanout.servers import bearer_headers
from tests.chaos.target import Outcome
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.resource_usage import cpu_seconds, memory_bytes
from tests.deadlines import DEADLINE
from tests.live import Installation, Person, PopulatedRoom

MEMBERS, BAD = 100, 10
RATE, SECONDS, CHUNK = 60.0, 2.2, "a word " * 300
"""Each chunk is so large that it becomes a delta of its own."""

CLOSE = 0x88
TOO_LARGE, TOO_SLOW, FLOODING = 1009, 4408, 4429
OVERSIZED_FRAME = bytes((TEXT, 0xFF)) + (4 * 2**30).to_bytes(8, "big") + bytes(4 + 2**20)
"""Declares a payload of 4 GiB and contains its first MiB."""
STUCK_SECONDS = 12
HALF_OPEN_SECONDS = 90
"""The deadline for closing half-open connections; the goal in the report is lower."""
TICK_SECONDS = 0.05
SMALL_BUFFER = 4_096
PINGS = 50
"""Per tick, that is, 1,000 per second."""


class BadClient:
    """A socket in a room, with small receive buffers, as on a slow network."""

    def __init__(self, web: Installation, room: PopulatedRoom, person: Person, seq: int) -> None:
        self._web, self._room, self._person, self._seq = web, room, person, seq
        self.close_code: int | None = None
        self.connect()

    def connect(self) -> None:
        """Connect and join the room. Blocking; the socket is non-blocking afterwards."""
        raw = self.limit_buffers(socket.socket())
        self.client = ClientSocket(self._web.port, 0, b"", raw)
        raw.settimeout(DEADLINE)
        headers = "".join(f"{line}\r\n" for line in bearer_headers(self._person.token))
        raw.sendall(HANDSHAKE.format(path="/ws/", port=self._web.port, headers=headers).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += raw.recv(1)
        assert head.startswith(b"HTTP/1.1 101"), head
        position = {"room": self._room.id, "after": self._seq, "live": {}}
        join = {"type": "room.join", "ref": "1", **position}
        self.client.send(TEXT, json.dumps(join).encode())
        while SNAPSHOT not in self.read():
            pass
        raw.setblocking(False)

    def limit_buffers(self, raw: socket.socket) -> socket.socket:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        return raw

    def act(self) -> None:
        """Misbehave; called once per tick."""

    def read(self) -> bytes:
        """Read up to SMALL_BUFFER bytes; return b"" at the end of the connection."""
        data = self.client.socket.recv(SMALL_BUFFER)
        for opcode, payload in self.client.frames_in(data):
            if opcode == CLOSE:
                self.close_code = int.from_bytes(payload[:2], "big")
        return data

    def read_to_end(self) -> None:
        """Read everything that the server has buffered. Blocking."""
        self.client.socket.settimeout(DEADLINE)
        with suppress(ConnectionError):
            while self.close_code is None and self.read():
                pass

    @property
    def is_dropped(self) -> bool:
        """True if the server has closed the connection; this does not read from the socket."""
        poll = select.poll()
        poll.register(self.client.socket, select.POLLRDHUP)
        return bool(poll.poll(0))

    def close(self) -> None:
        self.client.socket.close()


class Slow(BadClient):
    """Reads more slowly than the answer streams."""

    def act(self) -> None:
        with suppress(BlockingIOError):
            self.read()


class Stuck(BadClient):
    """Reads nothing."""


class HalfOpen(BadClient):
    """Stopped responding without closing its connection, whose buffers are large."""

    def limit_buffers(self, raw: socket.socket) -> socket.socket:
        return raw


class Reconnecting(BadClient):
    """Is closed by the server with a code, and connects again."""

    expected_code: int
    times_closed = 0

    def act(self) -> None:
        try:
            self.offend()
            while self.close_code is None and self.read():
                pass
        except BlockingIOError:
            return
        except ConnectionError:
            self.close_code = self.close_code or 0
        self.times_closed += self.close_code == self.expected_code
        self.close_code = None
        self.close()
        self.connect()

    def offend(self) -> None:
        """Send what makes the server close the connection."""


class Flooding(Reconnecting):
    """Sends a thousand commands per second."""

    expected_code = FLOODING

    def offend(self) -> None:
        for _ in range(PINGS):
            self.client.send(TEXT, b'{"type":"ping","ref":"1"}')


class Oversized(Reconnecting):
    """Sends the start of a frame of 4 GiB."""

    expected_code = TOO_LARGE

    def connect(self) -> None:
        super().connect()
        self.client.socket.send(OVERSIZED_FRAME)


@dataclass
class Measurements:
    """What was measured with one kind of bad clients, one value per round."""

    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    core: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    growth: list[float] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


class MeasuredRoom:
    """The room, the load client with its ordinary members, and the source of the answer."""

    def __init__(self, cluster: Cluster, folder: Path, stack: ExitStack) -> None:
        (self.web,) = cluster.webs
        self.room, self.quiet = cluster.populate(2, MEMBERS + BAD)
        log = folder / "processes.log"
        self.source = stack.enter_context(
            JsonProcess("tests.bench.fanout.delta_source", env=self.web.env, log=log)
        )
        self.load = stack.enter_context(JsonProcess("tests.bench.fanout.load_client", log=log))
        members = self.room.members[:MEMBERS]
        sockets = [{"room": 0, "headers": bearer_headers(person.token)} for person in members]
        options = {"path": "/ws/", "concurrency": 50, "seconds": DEADLINE}
        opened = self.load.request("connect", port=self.web.port, sockets=sockets, **options)
        assert not opened["failed"], opened["failed"][:3]
        self.load.request("join", rooms=[{"room": self.room.id, "after": self.seq()}])

    def seq(self) -> int:
        """Return the last seq of the room."""
        (seq,) = self.source.request("seqs", rooms=[self.room.id])
        return int(seq)

    @contextmanager
    def bad_clients(self, kind: type[BadClient] | None, number: int) -> Iterator[list[BadClient]]:
        """Connect `number` clients of a kind to the room, and close them at the end."""
        people = self.room.members[MEMBERS:][: number if kind else 0]
        seq = self.seq()
        clients = [kind(self.web, self.room, person, seq) for person in people if kind]
        try:
            yield clients
        finally:
            for client in clients:
                client.close()

    def stream_answer(self, bad: Sequence[BadClient], measured: Measurements) -> None:
        """Stream an answer in the room and measure how the ordinary members receive it."""
        self.source.request("open", rooms=[self.room.id], owners=[self.room.members[0].user])
        memory, cpu = self._memory(), self._cpu()
        self.load.send("receive", prefix='{"type":"message.delta"')
        self.source.send("stream", rate=RATE, chunks=round(RATE * SECONDS), text=CHUNK)
        end = time.monotonic() + SECONDS
        while (left := end - time.monotonic()) > 0:
            for client in bad:
                client.act()
            time.sleep(min(TICK_SECONDS, left))
        sent = self.source.receive()["sent"]
        due = len(sent[0]) * MEMBERS
        self.load.send("until", frames=due, sent=sent)
        received = self.load.receive()
        wrong = due - received["frames"], received["gaps"], received["duplicates"]
        if any(wrong):
            measured.violations.append(
                "ordinary members: {} lost, {} gaps, {} duplicates".format(*wrong)
            )
        measured.p50.append(received["delay"]["p50"])
        measured.p99.append(received["delay"]["p99"])
        measured.core.append(received["core"])
        measured.cpu.append((self._cpu() - cpu) / due)
        measured.growth.append((self._memory() - memory) / 2**20)

    def _memory(self) -> int:
        return memory_bytes(self._pid)

    def _cpu(self) -> float:
        return cpu_seconds(self._pid)

    @property
    def _pid(self) -> int:
        assert self.web.process is not None
        return self.web.process.pid


KINDS: dict[str, tuple[type[BadClient] | None, int]] = {
    "no": (None, 0),
    "slow": (Slow, BAD),
    "stuck": (Stuck, BAD),
    "flooding": (Flooding, 1),
    "oversized": (Oversized, 1),
    "half-open": (HalfOpen, BAD),
}

TURNS = ("no", "slow", "stuck", "no", "flooding", "oversized", "half-open")
"""The order within a round. The baseline is measured twice."""


def stream_with_bad_clients(cluster: Cluster, folder: Path, *, rounds: int) -> Outcome:
    """Stream an answer with each kind of bad clients in turn, `rounds` times.

    In the last round each offending client must have been closed with its code. The cluster has one
    web process with rate limits, and no worker.
    """
    measured = {name: Measurements() for name in KINDS}
    with ExitStack() as stack:
        room = MeasuredRoom(cluster, folder, stack)
        lost = [HalfOpen(room.web, room.quiet, one, 0) for one in room.quiet.members[:BAD]]
        for client in lost:
            stack.callback(client.close)
        dropped = stack.enter_context(ThreadPoolExecutor(1)).submit(_seconds_until_dropped, lost)
        room.stream_answer([], Measurements())  # warm-up: the first answer loads modules
        room.source.request("end")
        for number in range(rounds):
            for name in TURNS:
                kind, count = KINDS[name]
                with room.bad_clients(kind, count) as bad:
                    room.stream_answer(bad, measured[name])
                    if number == rounds - 1:
                        measured[name].violations += _not_closed(bad)
                room.source.request("end")
        seconds = dropped.result()
    violations = [
        f"{label(name)}: {what}" for name, each in measured.items() for what in each.violations
    ]
    outcome = Outcome(_figures(measured), violations)
    if seconds is not None:
        outcome.figures["half-open connections closed after, at most (s)"] = seconds
    else:
        outcome.violations.append("half-open connections were not closed")
    return outcome


def _seconds_until_dropped(clients: Sequence[BadClient]) -> float | None:
    """Return the seconds until the server has closed all connections; None after the deadline."""
    began = time.monotonic()
    while (seconds := time.monotonic() - began) < HALF_OPEN_SECONDS:
        if all(client.is_dropped for client in clients):
            return seconds
        time.sleep(TICK_SECONDS)
    return None


def label(name: str) -> str:
    return "without bad clients" if name == "no" else f"with {name} clients"


def _not_closed(clients: Sequence[BadClient]) -> list[str]:
    """Return a violation for each client that the server should have closed and did not."""
    wrong = []
    if any(isinstance(client, Stuck) for client in clients):
        time.sleep(STUCK_SECONDS)
    for client in clients:
        if isinstance(client, Stuck):
            client.read_to_end()
            if client.close_code != TOO_SLOW:
                wrong.append(f"closed with {client.close_code} instead of {TOO_SLOW}")
        if isinstance(client, Reconnecting) and not client.times_closed:
            wrong.append(f"never closed with {client.expected_code}")
    return wrong


def _figures(measured: dict[str, Measurements]) -> dict[str, float]:
    baseline = median(measured["no"].p99)
    figures: dict[str, float] = {
        "members": MEMBERS,
        "rounds": len(measured["slow"].p99),
        "CPU of the load client, largest (cores)": max(max(m.core) for m in measured.values()),
    }
    for name, each in measured.items():
        figures |= {
            f"{label(name)}, p50 (ms)": median(each.p50),
            f"{label(name)}, p99 (ms)": median(each.p99),
            f"{label(name)}, CPU of the server per frame (µs)": median(each.cpu) * 1e6,
            f"{label(name)}, RSS growth, largest (MB)": max(each.growth),
        }
        if name != "no":
            figures[f"{label(name)}, p99 ÷ p99 without bad clients"] = median(each.p99) / baseline
    return figures
