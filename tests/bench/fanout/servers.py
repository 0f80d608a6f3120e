"""The three servers, each with whoever makes its text; to the benchmark they look alike."""

import os
import socket
from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import Any, ClassVar, Final

from tests.bench.fanout.line_process import Helper
from tests.bench.fanout.process_usage import seconds_of
from tests.live import Installation, PopulatedRoom, free_port, until

SECONDS: Final = 5.0
CHUNK: Final = "a word "


@dataclass(frozen=True)
class Workload:
    """So many rooms of so many members each, in each of which a persona talks.

    The tutorial is given fewer chunks: all that it gets it must carry, and it falls behind.
    """

    name: str
    rooms: int
    members: int
    rate: float
    tutorial_chunks: int

    @property
    def chunks(self) -> int:
        """How many chunks each room gets."""
        return round(self.rate * SECONDS)

    @property
    def sockets(self) -> int:
        return self.rooms * self.members


@dataclass(frozen=True)
class Streamed:
    """What was put in: chunks, the frames to be heard of it, and when each set out."""

    chunks: int
    frames: int
    sent: list[list[float]] | None = None


class Contender(ABC):
    """A server in a process of its own."""

    name: ClassVar[str]
    path: ClassVar[str]
    mark: ClassVar[str] = '{"type":"message.delta"'
    at_once: ClassVar[int] = 100
    port: int

    @property
    @abstractmethod
    def pid(self) -> int:
        """The server's process."""

    def cpu(self) -> float:
        """Return the CPU seconds that the server has used."""
        return seconds_of(self.pid)

    def seats(self, workload: Workload) -> list[dict[str, Any]]:
        """Return what each member's socket shows at the door."""
        return [
            {"room": room, "headers": []}
            for _member in range(workload.members)
            for room in range(workload.rooms)
        ]

    def take_seats(self, client: Helper, workload: Workload) -> None:
        """Connect every member."""
        seats = self.seats(workload)
        fields = {"path": self.path, "sockets": seats, "at_once": self.at_once, "seconds": 120}
        opened = client.ask("connect", port=self.port, **fields)
        if opened["failed"]:
            raise RuntimeError(f"{self.name}: {opened['failed'][:3]}")

    @abstractmethod
    def stream(self, workload: Workload) -> Streamed:
        """Put text in; return once all of it is on its way."""


class Maru(Contender):
    """One web process of the production profile, and a worker without a model."""

    name = "Maru"
    path = "/ws/"

    def __init__(self, folder: Path, stack: ExitStack, installation: Installation) -> None:
        self.installation = installation
        stack.callback(installation.stop, SIGKILL)  # nobody is there to say good-bye to
        installation.start()
        self.port = installation.port
        self.rooms: list[PopulatedRoom] = []
        log = folder / "source.log"
        self.source = stack.enter_context(
            Helper("tests.bench.fanout.delta_source", env=installation.env, log=log)
        )

    @property
    def pid(self) -> int:
        assert self.installation.process is not None
        return self.installation.process.pid

    def seats(self, workload: Workload) -> list[dict[str, Any]]:
        return [
            {"room": place, "headers": bearer(person.token)}
            for place, room in enumerate(self.rooms)
            for person in room.members
        ]

    def take_seats(self, client: Helper, workload: Workload) -> None:
        self.rooms = self.installation.populate(workload.rooms, workload.members)
        super().take_seats(client, workload)
        seqs = self.source.ask("seqs", rooms=[room.id for room in self.rooms])
        rooms = [
            {"room": room.id, "after": seq} for room, seq in zip(self.rooms, seqs, strict=True)
        ]
        client.ask("join", rooms=rooms)

    def stream(self, workload: Workload) -> Streamed:
        streamed = self.source.ask(
            "stream",
            rooms=[room.id for room in self.rooms],
            owners=[room.members[0].user for room in self.rooms],
            rate=workload.rate,
            chunks=workload.chunks,
            text=CHUNK,
        )
        sent = streamed["sent"]
        return Streamed(streamed["chunks"], sum(map(len, sent)) * workload.members, sent)

    def end_answers(self) -> None:
        """Complete what was streamed."""
        self.source.ask("end")


class Tutorial(Contender):
    """The tutorial's server, and whoever makes its text."""

    name = "tutorial"
    path = "/ws/{room}/"
    mark = '{"type": "chunk"'

    def __init__(self, folder: Path, stack: ExitStack, redis_url: str) -> None:
        self.port = free_port()
        module, env = (
            "tests.bench.fanout.tutorial_server",
            {**os.environ, "MARU_REDIS_URL": redis_url},
        )
        log = folder / "tutorial.log"
        self._server = stack.enter_context(
            Helper(module, "serve", str(self.port), env=env, log=log)
        )
        self._source = stack.enter_context(Helper(module, "source", env=env, log=log))
        until(lambda: _listens(self.port))

    @property
    def pid(self) -> int:
        return self._server.pid

    def stream(self, workload: Workload) -> Streamed:
        streamed = self._source.ask(
            "stream",
            rooms=workload.rooms,
            rate=workload.rate,
            chunks=workload.tutorial_chunks,
            text=CHUNK,
        )
        return Streamed(streamed["chunks"], streamed["chunks"] * workload.members)


class Bare(Contender):
    """The bare limit. It writes as many frames as Maru has, of the same size, at the same pace."""

    name = "bare"
    path = "/{room}"

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._server = stack.enter_context(
            Helper("tests.bench.fanout.bare_server", log=folder / "bare.log")
        )
        self.port = self._server.answer()["port"]
        self.frames = 1
        self.size = 300

    @property
    def pid(self) -> int:
        return self._server.pid

    def stream(self, workload: Workload) -> Streamed:
        """It writes what `imitate` was told of."""
        written = self._server.ask(
            "stream", frames=self.frames, interval=SECONDS / self.frames, size=self.size
        )
        return Streamed(workload.chunks * workload.rooms, written["frames"])

    def imitate(self, streamed: Streamed, heard: dict[str, float], workload: Workload) -> None:
        """From now on write as many frames as these to every room, and as large."""
        self.frames = round(streamed.frames / workload.sockets)
        self.size = round(heard["bytes"] / heard["frames"])


def bearer(token: str) -> list[str]:
    """Return the lines by which a program comes in."""
    return [f"Authorization: Bearer {token}", "Sec-WebSocket-Protocol: maru.v1"]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
