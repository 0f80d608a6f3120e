"""Joining: storms into one and into many rooms, a large room, the tutorial's rate, a long history.

The CPU time is that of the web process. A storm begins after all its members have connected.
"""

import time
from contextlib import ExitStack
from statistics import median
from typing import Any, Final

from tests.bench.fanout import long_history
from tests.bench.fanout.json_process import JsonProcess
from tests.bench.fanout.servers import MaruServer, TutorialServer, Workload
from tests.bench.fanout.storms import Storm, connect, join_all, member_sockets
from tests.bench.report.figures import Figure
from tests.bench.resources import Resources
from tests.cluster.harness.resource_usage import memory_bytes
from tests.cluster.harness.services import missing_packages
from tests.live import PopulatedRoom

JOINS: Final = 1_000
ROUNDS: Final = 3
CONCURRENCY: Final = 100
SETTLE_SECONDS: Final = 1.0
ONE_ROOM: Final = "W7 CPU per join, 1,000 joins of one room"
MANY_ROOMS: Final = "W7 CPU per join, 10 joins of each of 100 rooms"
LARGE_ROOM: Final = "W7 CPU of a join after a message, 2,000 members ÷ 100 members"
MEMORY: Final = "W7 memory per socket in a room of 2,000 members"
RATE: Final = "W7 sign-ins with join per second, Maru ÷ tutorial"
RATE_NOTE: Final = (
    "1,000 users with the cookie of a session connect at once, and join at once when all are "
    "connected; the users of the tutorial have no session and join when they connect."
)


def measure(resources: Resources) -> list[Figure]:
    """Measure storms, then single joins."""
    if absent := missing_packages():
        return [Figure(ONE_ROOM, None, "ms", 3, note=f"not installed: {', '.join(absent)}")]
    rounds = 1 if resources.quick else ROUNDS
    with ExitStack() as stack:
        maru = MaruServer(resources.folder, stack, resources.production("joins"))
        tutorial = TutorialServer(resources.folder, stack, resources.redis.url)
        client = stack.enter_context(
            JsonProcess("tests.bench.fanout.load_client", log=resources.folder / "client.log")
        )
        populate = maru.installation.populate
        (one,), many = populate(1, JOINS), populate(100, JOINS // 100)
        (small,), (large,) = populate(1, 100), populate(1, 2_000)
        _storm(maru, client, [small], sockets=50)  # warm-up: the first joins load modules
        memory = _memory(maru, client, large)  # first: a later storm uses memory that is freed
        _storm(maru, client, many)
        return [
            _cpu(maru, client, ONE_ROOM, [one], rounds, goal=3),
            _cpu(maru, client, MANY_ROOMS, many, rounds, goal=6),
            _large_room(maru, client, small, large, rounds),
            memory,
            _rate(maru, tutorial, client, one, rounds),
            *long_history.measure(maru, client, rounds),
        ]


def _storm(
    maru: MaruServer, client: JsonProcess, rooms: list[PopulatedRoom], sockets: int = JOINS
) -> Storm:
    connect(maru, client, member_sockets(rooms, sockets), CONCURRENCY)
    storm = join_all(maru, client, rooms)
    _close(client)
    return storm


def _cpu(
    maru: MaruServer,
    client: JsonProcess,
    name: str,
    rooms: list[PopulatedRoom],
    rounds: int,
    goal: float,
) -> Figure:
    storms = [_storm(maru, client, rooms) for _round in range(rounds)]
    costs = tuple(storm.cpu_ms for storm in storms)
    rate = median(storm.joins / storm.seconds for storm in storms)
    size = storms[-1].bytes / storms[-1].joins / 1e3
    note = f"{rate:.0f} joins per second, {size:.1f} KB each."
    return Figure(name, median(costs), "ms", goal, costs, note)


def _large_room(
    maru: MaruServer, client: JsonProcess, small: PopulatedRoom, large: PopulatedRoom, rounds: int
) -> Figure:
    """Join both rooms in turn with one socket, each time after a new message."""
    costs: dict[str, list[float]] = {small.id: [], large.id: []}
    for _round in range(rounds):
        for room in (small, large):
            connect(maru, client, member_sockets([room], 1), 1)
            samples = []
            for _join in range(20):
                maru.source.request("post", room=room.id, owner=room.members[0].user)
                samples.append(join_all(maru, client, [room]).cpu_ms)
            costs[room.id].append(sum(samples) / len(samples))
            _close(client)
    ratios = tuple(many / few for few, many in zip(*costs.values(), strict=True))
    few, many = (median(each) for each in costs.values())
    note = f"{few:.1f} and {many:.1f} ms."
    return Figure(LARGE_ROOM, median(ratios), "×", 1.2, ratios, note)


def _memory(maru: MaruServer, client: JsonProcess, large: PopulatedRoom) -> Figure:
    """Compare the memory of the web process before and after half of a large room has joined."""
    before = memory_bytes(maru.pid)
    connect(maru, client, member_sockets([large], JOINS), CONCURRENCY)
    join_all(maru, client, [large])
    client.request("idle", seconds=SETTLE_SECONDS)
    used = memory_bytes(maru.pid) - before
    _close(client)
    return Figure(MEMORY, used / JOINS / 1e3, "KB", 45)


def _rate(
    maru: MaruServer,
    tutorial: TutorialServer,
    client: JsonProcess,
    room: PopulatedRoom,
    rounds: int,
) -> Figure:
    cookies = maru.source.request("sessions", users=[person.user for person in room.members])
    common = [f"Origin: {maru.installation.url}", "Sec-WebSocket-Protocol: maru.v1"]
    users: list[dict[str, Any]] = [
        {"room": 0, "headers": [f"Cookie: {cookie}", *common]} for cookie in cookies
    ]
    workload = Workload("W7", rooms=1, members=JOINS, rate=0, tutorial_chunks=0)
    rates: list[tuple[float, float]] = []
    for _round in range(rounds):
        seconds = connect(maru, client, users, JOINS) + join_all(maru, client, [room]).seconds
        _close(client)
        other = connect(tutorial, client, tutorial.sockets(workload), JOINS)
        _close(client)
        rates.append((JOINS / seconds, JOINS / other))
    ratios = tuple(ours / theirs for ours, theirs in rates)
    ours, theirs = (median(each) for each in zip(*rates, strict=True))
    note = f"{RATE_NOTE} {ours:.0f} and {theirs:.0f} per second."
    return Figure(RATE, median(ratios), "×", 3, ratios, note, at_least=True)


def _close(client: JsonProcess) -> None:
    client.request("close")
    time.sleep(SETTLE_SECONDS)  # the server notices the ends of the connections
