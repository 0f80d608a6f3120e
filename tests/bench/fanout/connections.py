"""A thousand sockets: memory of an idle one, and the rate at which all are accepted."""

import time
from contextlib import ExitStack
from statistics import median
from typing import Any, Final

from tests.bench.fanout.json_process import JsonProcess
from tests.bench.fanout.servers import (
    MaruServer,
    MeasuredServer,
    TutorialServer,
    Workload,
    bearer_headers,
)
from tests.bench.report.figures import Figure
from tests.bench.resources import Resources
from tests.cluster.harness.resource_usage import memory_bytes
from tests.cluster.harness.services import missing_packages

SOCKETS: Final = 1_000
ROUNDS: Final = 3
SETTLE_SECONDS: Final = 2.0
CONNECT_SECONDS: Final = 60
WORKLOAD: Final = Workload("W5", rooms=1, members=SOCKETS, rate=0, tutorial_chunks=0)
MEMORY: Final = "W4 memory per idle socket"
RATE: Final = "W5 connects per second, Maru ÷ tutorial"
NOTE: Final = (
    "with Maru each of the thousand sockets belongs to another user and has the cookie of a "
    "session; with the tutorial there are no users. Both use one client and start all handshakes "
    "at once."
)


def measure(resources: Resources) -> list[Figure]:
    """Measure the memory of a server before and after a thousand sockets, then connect storms."""
    if absent := missing_packages():
        reason = f"not installed: {', '.join(absent)}"
        return [
            Figure(MEMORY, None, "KB", 40, note=reason),
            Figure(RATE, None, "×", 5, note=reason),
        ]
    with ExitStack() as stack:
        maru = MaruServer(resources.folder, stack, resources.production("connections"))
        tutorial = TutorialServer(resources.folder, stack, resources.redis.url)
        client = stack.enter_context(
            JsonProcess("tests.bench.fanout.load_client", log=resources.folder / "client.log")
        )
        maru.rooms = maru.installation.populate(WORKLOAD.rooms, WORKLOAD.members)
        return [*_memory(maru, client), *_connect_rates(maru, tutorial, client)]


def _memory(maru: MaruServer, client: JsonProcess) -> list[Figure]:
    (room,) = maru.rooms
    sockets = [{"room": 0, "headers": bearer_headers(person.token)} for person in room.members]
    _connect(maru, client, sockets[:50], concurrency=50)  # warm-up: the first loads modules
    client.request("close")
    client.request("idle", seconds=SETTLE_SECONDS)
    empty = memory_bytes(maru.pid)
    opened = _connect(maru, client, sockets, concurrency=100)
    assert not opened["failed"], opened["failed"][:3]
    client.request("idle", seconds=SETTLE_SECONDS)
    connected = memory_bytes(maru.pid)
    (seq,) = maru.source.request("seqs", rooms=[room.id])
    client.request("join", rooms=[{"room": room.id, "after": seq}])
    client.request("idle", seconds=SETTLE_SECONDS)
    joined = memory_bytes(maru.pid)
    client.request("close")
    return [
        Figure(MEMORY, (connected - empty) / SOCKETS / 1e3, "KB", 40),
        Figure("W4 memory per joined socket", (joined - empty) / SOCKETS / 1e3, "KB"),
    ]


def _connect_rates(maru: MaruServer, tutorial: TutorialServer, client: JsonProcess) -> list[Figure]:
    """Connect all sockets at once, to both servers in turn."""
    cookies = maru.source.request("sessions", users=[p.user for p in maru.rooms[0].members])
    origin = f"Origin: {maru.installation.url}"
    protocol = "Sec-WebSocket-Protocol: maru.v1"
    browsers = [{"room": 0, "headers": [f"Cookie: {one}", origin, protocol]} for one in cookies]
    servers: tuple[tuple[MeasuredServer, list[dict[str, Any]]], ...] = (
        (maru, browsers),
        (tutorial, tutorial.sockets(WORKLOAD)),
    )
    rates: dict[str, list[float]] = {maru.name: [], tutorial.name: []}
    failed: dict[str, int] = {maru.name: 0, tutorial.name: 0}
    for _round in range(ROUNDS):
        for server, sockets in servers:
            opened = _connect(server, client, sockets, concurrency=SOCKETS)
            rates[server.name].append(opened["opened"] / opened["seconds"])
            failed[server.name] += len(opened["failed"])
            client.request("close")
            time.sleep(SETTLE_SECONDS)
    ratios = [a / b for a, b in zip(rates[maru.name], rates[tutorial.name], strict=True)]
    return [
        *(
            Figure(f"W5 connects per second, {name}", median(each), "", rounds=tuple(each))
            for name, each in rates.items()
        ),
        Figure(RATE, median(ratios), "×", 5, tuple(ratios), NOTE, at_least=True),
        Figure("W5 failures, Maru", failed[maru.name], "", 0),
        Figure("W5 failures, tutorial", failed[tutorial.name], ""),
    ]


def _connect(
    server: MeasuredServer, client: JsonProcess, sockets: list[dict[str, Any]], concurrency: int
) -> dict[str, Any]:
    opened: dict[str, Any] = client.request(
        "connect",
        port=server.port,
        path=server.path,
        sockets=sockets,
        concurrency=concurrency,
        seconds=CONNECT_SECONDS,
    )
    return opened
