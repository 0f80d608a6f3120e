"""A thousand sockets: what each costs while nothing is said, and how fast all are let in."""

import time
from contextlib import ExitStack
from statistics import median
from typing import Any, Final

from tests.bench.fanout.line_process import Helper
from tests.bench.fanout.process_usage import resident_bytes
from tests.bench.fanout.servers import Contender, Maru, Tutorial, Workload, bearer
from tests.bench.report.figures import Figure
from tests.bench.resources import Stage
from tests.cluster.harness.services import missing

SOCKETS: Final = 1_000
ROUNDS: Final = 3
SETTLE_SECONDS: Final = 2.0
PATIENCE: Final = 60
CROWD: Final = Workload("W5", rooms=1, members=SOCKETS, rate=0, tutorial_chunks=0)
MEMORY: Final = "W4 memory per idle socket"
STORM: Final = "W5 connects per second, Maru : tutorial"
NOTE: Final = (
    "at Maru each of the thousand is somebody else and shows the cookie of a session, at the "
    "tutorial nobody shows anything; both in one client, all handshakes under way at once."
)


def measure(stage: Stage) -> list[Figure]:
    """Look at the memory of a server before and behind a thousand sockets; then storm it."""
    if absent := missing():
        why = f"not installed: {', '.join(absent)}"
        return [Figure(MEMORY, None, "KB", 40, note=why), Figure(STORM, None, "×", 5, note=why)]
    with ExitStack() as stack:
        maru = Maru(stage.folder, stack, stage.production("crowd"))
        tutorial = Tutorial(stage.folder, stack, stage.redis.url)
        client = stack.enter_context(
            Helper("tests.bench.fanout.load_client", log=stage.folder / "client.log")
        )
        maru.rooms = maru.installation.populate(CROWD.rooms, CROWD.members)
        return [*_memory(maru, client), *_storm(maru, tutorial, client)]


def _memory(maru: Maru, client: Helper) -> list[Figure]:
    (room,) = maru.rooms
    seats = [{"room": 0, "headers": bearer(person.token)} for person in room.members]
    _connect(maru, client, seats[:50], at_once=50)  # whatever is loaded by the first is loaded
    client.ask("close")
    client.ask("idle", seconds=SETTLE_SECONDS)
    empty = resident_bytes(maru.pid)
    opened = _connect(maru, client, seats, at_once=100)
    assert not opened["failed"], opened["failed"][:3]
    client.ask("idle", seconds=SETTLE_SECONDS)
    connected = resident_bytes(maru.pid)
    (seq,) = maru.source.ask("seqs", rooms=[room.id])
    client.ask("join", rooms=[{"room": room.id, "after": seq}])
    client.ask("idle", seconds=SETTLE_SECONDS)
    joined = resident_bytes(maru.pid)
    client.ask("close")
    return [
        Figure(MEMORY, (connected - empty) / SOCKETS / 1e3, "KB", 40),
        Figure("W4 and in a room of a thousand", (joined - empty) / SOCKETS / 1e3, "KB"),
    ]


def _storm(maru: Maru, tutorial: Tutorial, client: Helper) -> list[Figure]:
    cookies = maru.source.ask("sessions", users=[p.user for p in maru.rooms[0].members])
    origin = f"Origin: {maru.installation.url}"
    protocol = "Sec-WebSocket-Protocol: maru.v1"
    guests = [{"room": 0, "headers": [f"Cookie: {cookie}", origin, protocol]} for cookie in cookies]
    rates: dict[str, list[float]] = {"ours": [], "theirs": []}
    failed: dict[str, int] = {"ours": 0, "theirs": 0}
    for _round in range(ROUNDS):
        for name, contender, seats in (
            ("ours", maru, guests),
            ("theirs", tutorial, tutorial.seats(CROWD)),
        ):
            stormed = _connect(contender, client, seats, at_once=SOCKETS)
            rates[name].append(stormed["opened"] / stormed["seconds"])
            failed[name] += len(stormed["failed"])
            client.ask("close")
            time.sleep(SETTLE_SECONDS)
    ratios = [a / b for a, b in zip(rates["ours"], rates["theirs"], strict=True)]
    return [
        Figure(
            "W5 connects per second, Maru", median(rates["ours"]), "", None, tuple(rates["ours"])
        ),
        Figure(
            "W5 connects per second, tutorial",
            median(rates["theirs"]),
            "",
            rounds=tuple(rates["theirs"]),
        ),
        Figure(STORM, median(ratios), "×", 5, tuple(ratios), NOTE, at_least=True),
        Figure("W5 failures, Maru", failed["ours"], "", 0),
        Figure("W5 failures, tutorial", failed["theirs"], ""),
    ]


def _connect(
    contender: Contender, client: Helper, seats: list[dict[str, Any]], at_once: int
) -> dict[str, Any]:
    opened: dict[str, Any] = client.ask(
        "connect",
        port=contender.port,
        path=contender.path,
        sockets=seats,
        at_once=at_once,
        seconds=PATIENCE,
    )
    return opened
