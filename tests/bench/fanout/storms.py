"""Storms: the members of rooms connect, and then join at once; with the CPU time of the server."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.fanout.json_process import JsonProcess
from tests.bench.fanout.servers import MaruServer, MeasuredServer, bearer_headers
from tests.live import PopulatedRoom

CONNECT_SECONDS = 120


@dataclass(frozen=True)
class Storm:
    """What the joins of a storm took: seconds, CPU seconds of the web process, bytes received."""

    joins: int
    seconds: float
    cpu: float
    bytes: int

    @property
    def cpu_ms(self) -> float:
        """The CPU time of one join in milliseconds."""
        return self.cpu / self.joins * 1000


def member_sockets(rooms: Sequence[PopulatedRoom], members: int) -> list[dict[str, Any]]:
    """Return the room number and headers of the first `members` members of each room."""
    return [
        {"room": number, "headers": bearer_headers(person.token)}
        for number, room in enumerate(rooms)
        for person in room.members[:members]
    ]


def connect(
    server: MeasuredServer, client: JsonProcess, sockets: list[dict[str, Any]], concurrency: int
) -> float:
    """Open sockets; return the seconds. Raises RuntimeError if one fails."""
    fields = {"path": server.path, "sockets": sockets, "seconds": CONNECT_SECONDS}
    opened = client.request("connect", port=server.port, concurrency=concurrency, **fields)
    if opened["failed"]:
        raise RuntimeError(f"{server.name}: {opened['failed'][:3]}")
    seconds: float = opened["seconds"]
    return seconds


def join_all(maru: MaruServer, client: JsonProcess, rooms: Sequence[PopulatedRoom]) -> Storm:
    """Let all open sockets join their rooms at once, each with the whole state."""
    cpu = maru.cpu()
    joined = client.request("storm", rooms=[{"room": room.id, "after": None} for room in rooms])
    return Storm(joined["joins"], joined["seconds"], maru.cpu() - cpu, joined["bytes"])
