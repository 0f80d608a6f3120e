"""Neighbours that do not read, or say too much, or are not there any more: WS-05, 09, 10, 13.

A room hears an answer. How long each delta took to its ordinary members is held against how long it
takes them without such neighbours, in turns. Their sockets are all in one process, which does next
to nothing for a frame; the answer comes from a worker without a model.
"""

import json
import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.bench.fanout.line_process import Helper
from tests.bench.fanout.load_client import HANDSHAKE, SNAPSHOT, TEXT, Ear
from tests.bench.fanout.process_usage import resident_bytes, seconds_of
from tests.bench.fanout.servers import bearer
from tests.chaos.target import Outcome
from tests.cluster.harness.cluster import Cluster
from tests.deadlines import DEADLINE
from tests.live import Installation, Person, PopulatedRoom

MEMBERS, BAD = 100, 10
RATE, SECONDS, CHUNK = 60.0, 2.2, "a word " * 300
"""Each chunk is so large that it is a delta of its own."""

CLOSE = 0x88
TOO_LARGE, TOO_SLOW, FLOODING = 1009, 4408, 4429
HUGE = bytes((TEXT, 0xFF)) + (4 * 2**30).to_bytes(8, "big") + bytes(4 + 2**20)
STUCK_SECONDS = 12
TICK = 0.05
SIP = 4_096
PINGS = 50
"""In each tick: a thousand a second."""


class Neighbour:
    """A socket in a room. Little fits between it and the server, as where a phone is far away."""

    def __init__(self, web: Installation, room: PopulatedRoom, person: Person, seq: int) -> None:
        self._web, self._room, self._person, self._seq = web, room, person, seq
        self.code: int | None = None
        self.enter()

    def enter(self) -> None:
        """Come in and join."""
        raw = self.narrow(socket.socket())
        self.ear = Ear(self._web.port, 0, b"", raw)
        raw.settimeout(DEADLINE)
        headers = "".join(f"{line}\r\n" for line in bearer(self._person.token))
        raw.sendall(HANDSHAKE.format(path="/ws/", port=self._web.port, headers=headers).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += raw.recv(1)
        assert head.startswith(b"HTTP/1.1 101"), head
        where = {"room": self._room.id, "after": self._seq, "live": {}}
        self.ear.say(TEXT, json.dumps({"type": "room.join", "ref": "1", **where}).encode())
        while SNAPSHOT not in self.read():
            pass
        raw.setblocking(False)

    def narrow(self, raw: socket.socket) -> socket.socket:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SIP)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        return raw

    def act(self) -> None:
        """Do, once in a tick, what it is bad for."""

    def read(self) -> bytes:
        """Take in a little; empty at the end."""
        data = self.ear.socket.recv(SIP)
        for opcode, payload in self.ear.messages(data):
            if opcode == CLOSE:
                self.code = int.from_bytes(payload[:2], "big")
        return data

    def read_on(self) -> None:
        """Take in all that was kept for it, to the end."""
        self.ear.socket.settimeout(DEADLINE)
        with suppress(ConnectionError):
            while self.code is None and self.read():
                pass

    @property
    def is_dropped(self) -> bool:
        """Whether the server has let go of it; seen without reading anything."""
        poll = select.poll()
        poll.register(self.ear.socket, select.POLLRDHUP)
        return bool(poll.poll(0))

    def leave(self) -> None:
        """Be gone."""
        self.ear.socket.close()


class Slow(Neighbour):
    """Reads, but not as fast as the answer comes."""

    def act(self) -> None:
        with suppress(BlockingIOError):
            self.read()


class Stuck(Neighbour):
    """Reads nothing."""


class HalfOpen(Neighbour):
    """Was there; much fits into the wires to where it was."""

    def narrow(self, raw: socket.socket) -> socket.socket:
        return raw


class Returning(Neighbour):
    """Is shown out with a code, and comes again."""

    due: int
    times = 0

    def act(self) -> None:
        try:
            self.offend()
            while self.code is None and self.read():
                pass
        except BlockingIOError:
            return
        except ConnectionError:
            self.code = self.code or 0
        self.times += self.code == self.due
        self.code = None
        self.leave()
        self.enter()

    def offend(self) -> None:
        """Do what one is shown out for."""


class Flooding(Returning):
    """Sends a thousand commands a second."""

    due = FLOODING

    def offend(self) -> None:
        for _ in range(PINGS):
            self.ear.say(TEXT, b'{"type":"ping","ref":"1"}')


class Huge(Returning):
    """Declares four gigabytes, and sends what anybody takes in of it."""

    due = TOO_LARGE

    def enter(self) -> None:
        super().enter()
        self.ear.socket.send(HUGE)


@dataclass
class Seen:
    """What was seen beside one kind of neighbours, in each round."""

    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    core: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    grown: list[float] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


class Hall:
    """The room, its ordinary members, and whoever has the answer."""

    def __init__(self, cluster: Cluster, folder: Path, stack: ExitStack) -> None:
        (self.web,) = cluster.webs
        self.room, self.quiet = cluster.populate(2, MEMBERS + BAD)
        log = folder / "helpers.log"
        self.source = stack.enter_context(
            Helper("tests.bench.fanout.delta_source", env=self.web.env, log=log)
        )
        self.client = stack.enter_context(Helper("tests.bench.fanout.load_client", log=log))
        members = self.room.members[:MEMBERS]
        seats = [{"room": 0, "headers": bearer(person.token)} for person in members]
        how = {"path": "/ws/", "at_once": 50, "seconds": DEADLINE}
        opened = self.client.ask("connect", port=self.web.port, sockets=seats, **how)
        assert not opened["failed"], opened["failed"][:3]
        self.client.ask("join", rooms=[{"room": self.room.id, "after": self.seq()}])

    def seq(self) -> int:
        """Return where the room's log ends."""
        (seq,) = self.source.ask("seqs", rooms=[self.room.id])
        return int(seq)

    @contextmanager
    def beside(self, kind: type[Neighbour] | None, many: int) -> Iterator[list[Neighbour]]:
        """Have so many of a kind in the room."""
        people = self.room.members[MEMBERS:][: many if kind else 0]
        seq = self.seq()
        neighbours = [kind(self.web, self.room, person, seq) for person in people if kind]
        try:
            yield neighbours
        finally:
            for one in neighbours:
                one.leave()

    def answer(self, neighbours: Sequence[Neighbour], seen: Seen) -> None:
        """Answer in the room, and note how its members hear it."""
        before, worked = self._memory(), self._worked()
        self.client.tell("hear", mark='{"type":"message.delta"')
        self.source.tell(
            "stream",
            rooms=[self.room.id],
            owners=[self.room.members[0].user],
            rate=RATE,
            chunks=round(RATE * SECONDS),
            text=CHUNK,
        )
        end = time.monotonic() + SECONDS
        while (left := end - time.monotonic()) > 0:
            for one in neighbours:
                one.act()
            time.sleep(min(TICK, left))
        sent = self.source.answer()["sent"]
        due = len(sent[0]) * MEMBERS
        self.client.tell("until", frames=due, sent=sent)
        heard = self.client.answer()
        wrong = due - heard["frames"], heard["gaps"], heard["doubles"]
        if any(wrong):
            seen.complaints.append("the others: {} lost, {} gaps, {} doubles".format(*wrong))
        seen.p50.append(heard["late"]["p50"])
        seen.p99.append(heard["late"]["p99"])
        seen.core.append(heard["core"])
        seen.cpu.append((self._worked() - worked) / due)
        seen.grown.append((self._memory() - before) / 2**20)

    def _memory(self) -> int:
        return resident_bytes(self._pid)

    def _worked(self) -> float:
        return seconds_of(self._pid)

    @property
    def _pid(self) -> int:
        assert self.web.process is not None
        return self.web.process.pid


KINDS: dict[str, tuple[type[Neighbour] | None, int]] = {
    "nobody": (None, 0),
    "slow": (Slow, BAD),
    "stuck": (Stuck, BAD),
    "flooding": (Flooding, 1),
    "huge": (Huge, 1),
    "half-open": (HalfOpen, BAD),
}

TURNS = ("nobody", "slow", "stuck", "nobody", "flooding", "huge", "half-open")
"""Of each round; what they are all held against is looked at twice."""


def live_beside(cluster: Cluster, folder: Path, *, rounds: int) -> Outcome:
    """Answer beside each kind in turn, so many times; have all of them be shown out at last.

    The cluster has one web process, with limits, and no worker.
    """
    seen = {name: Seen() for name in KINDS}
    with ExitStack() as stack:
        hall = Hall(cluster, folder, stack)
        went = time.monotonic()
        lost = [HalfOpen(hall.web, hall.quiet, one, 0) for one in hall.quiet.members[:BAD]]
        for one in lost:
            stack.callback(one.leave)
        hall.answer([], Seen())  # whatever is loaded by the first is loaded
        hall.source.ask("end")
        noticed = 0.0
        for number in range(rounds):
            for name in TURNS:
                kind, many = KINDS[name]
                with hall.beside(kind, many) as neighbours:
                    hall.answer(neighbours, seen[name])
                    if number == rounds - 1:
                        seen[name].complaints += _shown_out(neighbours)
                hall.source.ask("end")
                if not noticed and all(one.is_dropped for one in lost):
                    noticed = time.monotonic() - went
    outcome = Outcome(_figures(seen), [f"{n}: {what}" for n in seen for what in seen[n].complaints])
    if noticed:
        outcome.figures["half-open ones noticed, at the latest (s)"] = noticed
    else:
        outcome.complaints.append("half-open ones are kept")
    return outcome


def _shown_out(neighbours: Sequence[Neighbour]) -> list[str]:
    """Complain of those who should have been shown out, and were not."""
    wrong = []
    if any(isinstance(one, Stuck) for one in neighbours):
        time.sleep(STUCK_SECONDS)
    for one in neighbours:
        if isinstance(one, Stuck):
            one.read_on()
            if one.code != TOO_SLOW:
                wrong.append(f"closed with {one.code}")
        if isinstance(one, Returning) and not one.times:
            wrong.append("is not shown out")
    return wrong


def _figures(seen: dict[str, Seen]) -> dict[str, float]:
    calm = median(seen["nobody"].p99)
    figures: dict[str, float] = {
        "members": MEMBERS,
        "rounds": len(seen["slow"].p99),
        "share of a core of their process, most": max(max(each.core) for each in seen.values()),
    }
    for name, each in seen.items():
        figures |= {
            f"beside {name}, p50 (ms)": median(each.p50),
            f"beside {name}, p99 (ms)": median(each.p99),
            f"beside {name}, CPU of the server for a frame (µs)": median(each.cpu) * 1e6,
            f"beside {name}, RSS grown by, most (MB)": max(each.grown),
        }
        if each is not seen["nobody"]:
            figures[f"beside {name}, p99 : p99 beside nobody"] = median(each.p99) / calm
    return figures
