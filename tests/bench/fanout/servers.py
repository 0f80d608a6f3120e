"""The three servers that are measured, each with its source of text, behind one interface."""

import os
import socket
from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import Any, ClassVar, Final

from tests.bench.fanout.json_process import JsonProcess
from tests.cluster.harness.resource_usage import cpu_seconds
from tests.live import Installation, PopulatedRoom, free_port, until

SECONDS: Final = 5.0
CHUNK: Final = "a word "


@dataclass(frozen=True)
class Workload:
    """A number of rooms with a number of members each; a persona answers in each room.

    The tutorial gets fewer chunks: it must deliver all of them, and it cannot keep up with `rate`.
    """

    name: str
    rooms: int
    members: int
    rate: float
    tutorial_chunks: int

    @property
    def chunks(self) -> int:
        """The number of chunks for each room."""
        return round(self.rate * SECONDS)

    @property
    def sockets(self) -> int:
        return self.rooms * self.members


@dataclass(frozen=True)
class Streamed:
    """What was streamed: chunks, frames due at all sockets, and the send times by room."""

    chunks: int
    frames: int
    sent: list[list[float]] | None = None


class MeasuredServer(ABC):
    """A server in a process of its own."""

    name: ClassVar[str]
    path: ClassVar[str]
    frame_prefix: ClassVar[str] = '{"type":"message.delta"'
    concurrency: ClassVar[int] = 100
    port: int

    @property
    @abstractmethod
    def pid(self) -> int:
        """The process id of the server."""

    def cpu(self) -> float:
        """Return the CPU seconds that the server has used."""
        return cpu_seconds(self.pid)

    def sockets(self, workload: Workload) -> list[dict[str, Any]]:
        """Return the room number and the handshake headers of each member's socket."""
        return [
            {"room": room, "headers": []}
            for _member in range(workload.members)
            for room in range(workload.rooms)
        ]

    def connect(self, client: JsonProcess, workload: Workload) -> None:
        """Connect the socket of every member; raise RuntimeError if one fails."""
        fields = {"path": self.path, "concurrency": self.concurrency, "seconds": 120}
        sockets = self.sockets(workload)
        opened = client.request("connect", port=self.port, sockets=sockets, **fields)
        if opened["failed"]:
            raise RuntimeError(f"{self.name}: {opened['failed'][:3]}")

    def prepare(self, workload: Workload) -> None:  # noqa: B027 # nothing for most servers
        """Do what precedes the stream and has no part in the cost of its frames."""

    @abstractmethod
    def stream(self, workload: Workload) -> Streamed:
        """Stream the workload's chunks; return when all of them have been sent."""


class MaruServer(MeasuredServer):
    """One web process of the production profile, and a worker without a model."""

    name = "Maru"
    path = "/ws/"

    def __init__(self, folder: Path, stack: ExitStack, installation: Installation) -> None:
        self.installation = installation
        stack.callback(installation.stop, SIGKILL)  # a clean end would close each socket first
        installation.start()
        self.port = installation.port
        self.rooms: list[PopulatedRoom] = []
        log = folder / "source.log"
        self.source = stack.enter_context(
            JsonProcess("tests.bench.fanout.delta_source", env=installation.env, log=log)
        )

    @property
    def pid(self) -> int:
        assert self.installation.process is not None
        return self.installation.process.pid

    def sockets(self, workload: Workload) -> list[dict[str, Any]]:
        return [
            {"room": number, "headers": bearer_headers(person.token)}
            for number, room in enumerate(self.rooms)
            for person in room.members
        ]

    def connect(self, client: JsonProcess, workload: Workload) -> None:
        self.rooms = self.installation.populate(workload.rooms, workload.members)
        super().connect(client, workload)
        seqs = self.source.request("seqs", rooms=[room.id for room in self.rooms])
        rooms = [
            {"room": room.id, "after": seq} for room, seq in zip(self.rooms, seqs, strict=True)
        ]
        client.request("join_all", rooms=rooms)

    def prepare(self, workload: Workload) -> None:
        """Post the questions and start the answers."""
        self.source.request(
            "open",
            rooms=[room.id for room in self.rooms],
            owners=[room.members[0].user for room in self.rooms],
        )

    def stream(self, workload: Workload) -> Streamed:
        streamed = self.source.request(
            "stream",
            rate=workload.rate,
            chunks=workload.chunks,
            text=CHUNK,
        )
        sent = streamed["sent"]
        return Streamed(streamed["chunks"], sum(map(len, sent)) * workload.members, sent)

    def end_answers(self) -> None:
        """Complete the runs of the streamed answers."""
        self.source.request("end")


class TutorialServer(MeasuredServer):
    """The server of the tutorial, and its source of text."""

    name = "tutorial"
    path = "/ws/{room}/"
    frame_prefix = '{"type": "chunk"'

    def __init__(self, folder: Path, stack: ExitStack, redis_url: str) -> None:
        self.port = free_port()
        module = "tests.bench.fanout.tutorial_server"
        env = {**os.environ, "MARU_REDIS_URL": redis_url}
        log = folder / "tutorial.log"
        self._server = stack.enter_context(
            JsonProcess(module, "serve", str(self.port), env=env, log=log)
        )
        self._source = stack.enter_context(JsonProcess(module, "source", env=env, log=log))
        until(lambda: _listens(self.port))

    @property
    def pid(self) -> int:
        return self._server.pid

    def stream(self, workload: Workload) -> Streamed:
        streamed = self._source.request(
            "stream",
            rooms=workload.rooms,
            rate=workload.rate,
            chunks=workload.tutorial_chunks,
            text=CHUNK,
        )
        return Streamed(streamed["chunks"], streamed["chunks"] * workload.members)


class BareServer(MeasuredServer):
    """The bare limit. Writes the number of frames that Maru wrote, of their mean size."""

    name = "bare"
    path = "/{room}"

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._server = stack.enter_context(
            JsonProcess("tests.bench.fanout.bare_server", log=folder / "bare.log")
        )
        self.port = self._server.receive()["port"]
        self.frames = 1
        self.size = 300

    @property
    def pid(self) -> int:
        return self._server.pid

    def stream(self, workload: Workload) -> Streamed:
        written = self._server.request(
            "stream", frames=self.frames, interval=SECONDS / self.frames, size=self.size
        )
        return Streamed(workload.chunks * workload.rooms, written["frames"])

    def copy_volume(
        self, streamed: Streamed, received: dict[str, float], workload: Workload
    ) -> None:
        """From now on write as many frames to every room as were streamed, of the mean size."""
        self.frames = round(streamed.frames / workload.sockets)
        self.size = round(received["bytes"] / received["frames"])


def bearer_headers(token: str) -> list[str]:
    """Return the handshake headers of a program with a token."""
    return [f"Authorization: Bearer {token}", "Sec-WebSocket-Protocol: maru.v1"]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
