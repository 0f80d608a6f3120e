"""Text that streams to many sockets: the same workloads on three servers, in turn."""

from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Final

import redis

from tests.bench.fanout.json_process import JsonProcess
from tests.bench.fanout.servers import (
    BareServer,
    MaruServer,
    MeasuredServer,
    Streamed,
    TutorialServer,
    Workload,
)
from tests.bench.report.figures import Figure
from tests.bench.resources import Resources
from tests.cluster.harness.services import missing_packages

ROUNDS: Final = 3
QUICK_ROUNDS: Final = 1
MAX_CLIENT_CORE: Final = 0.5
"""A load client that uses more than this share of a core may limit the measurement."""


@dataclass(frozen=True)
class Goals:
    """The goals of a workload: the ratios to the bare limit and to the tutorial."""

    bare: float
    tutorial: float


WORKLOADS: Final = {
    Workload("W1", rooms=1, members=200, rate=50, tutorial_chunks=60): Goals(1.3, 60),
    Workload("W2", rooms=100, members=5, rate=30, tutorial_chunks=20): Goals(1.25, 40),
    Workload("W3", rooms=1, members=1_000, rate=50, tutorial_chunks=25): Goals(1.0, 140),
}


@dataclass(frozen=True)
class Row:
    """One server in one round of one workload."""

    streamed: Streamed
    cpu: float
    received: dict[str, float]
    delay: dict[str, float] | None
    commands: int

    @property
    def per_frame(self) -> float:
        """CPU microseconds of the server per delivered frame."""
        return self.cpu / self.received["frames"] * 1e6

    @property
    def per_chunk(self) -> float:
        """CPU milliseconds of the server per chunk that was streamed and delivered."""
        return self.cpu / (self.streamed.chunks * self.delivered) * 1e3

    @property
    def delivered(self) -> float:
        """The share of the due frames that were delivered."""
        return self.received["frames"] / self.streamed.frames


def measure(resources: Resources) -> list[Figure]:
    """Run each workload on each server in turn, three times, or once with `quick`."""
    if absent := missing_packages():
        return [Figure("fan-out", None, "×", note=f"not installed: {', '.join(absent)}")]
    with ExitStack() as stack:
        maru = MaruServer(resources.folder, stack, resources.production("fanout"))
        tutorial = TutorialServer(resources.folder, stack, resources.redis.url)
        bare = BareServer(resources.folder, stack)
        with resources.redis.connect() as connection:
            return [
                figure
                for workload, goals in WORKLOADS.items()
                for figure in _figures(
                    workload,
                    goals,
                    _rounds(workload, (maru, bare, tutorial), resources, connection),
                )
            ]


def _rounds(
    workload: Workload,
    servers: tuple[MaruServer, BareServer, TutorialServer],
    resources: Resources,
    connection: redis.Redis,
) -> dict[str, list[Row]]:
    rows: dict[str, list[Row]] = {server.name: [] for server in servers}
    with ExitStack() as stack:
        clients = {
            server.name: stack.enter_context(
                JsonProcess("tests.bench.fanout.load_client", log=resources.folder / "client.log")
            )
            for server in servers
        }
        for server in servers:
            server.connect(clients[server.name], workload)
        maru, bare, _tutorial = servers
        for _round in range(QUICK_ROUNDS if resources.quick else ROUNDS):
            for server in servers:
                row = _run(server, clients[server.name], workload, connection)
                rows[server.name].append(row)
                if server is maru:
                    maru.end_answers()
                    bare.copy_volume(row.streamed, row.received, workload)
    return rows


def _run(
    server: MeasuredServer, client: JsonProcess, workload: Workload, connection: redis.Redis
) -> Row:
    server.prepare(workload)
    commands, cpu = _commands(connection), server.cpu()
    client.send("receive", prefix=server.frame_prefix)
    streamed = server.stream(workload)
    client.send("until", frames=streamed.frames, sent=streamed.sent)
    received = client.receive()
    cpu, commands = server.cpu() - cpu, _commands(connection) - commands
    return Row(streamed, cpu, received, received.pop("delay"), commands)


def _commands(connection: redis.Redis) -> int:
    """Return the number of Redis commands that carried text so far, those in scripts included."""
    stats = connection.info("commandstats")
    carry = ("xadd", "expire", "publish", "evalsha", "eval")
    return sum(int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for name in carry)


def _figures(workload: Workload, goals: Goals, rows: dict[str, list[Row]]) -> list[Figure]:
    maru, bare, tutorial = rows["Maru"], rows["bare"], rows["tutorial"]
    name = workload.name
    to_bare = [ours.per_frame / limit.per_frame for ours, limit in zip(maru, bare, strict=True)]
    to_tutorial = [
        theirs.per_chunk / ours.per_chunk for theirs, ours in zip(tutorial, maru, strict=True)
    ]
    figures = [
        _figure(f"{name} CPU per frame, Maru", [row.per_frame for row in maru], "µs"),
        _figure(f"{name} CPU per frame, bare limit", [row.per_frame for row in bare], "µs"),
        _figure(f"{name} Maru ÷ bare limit", to_bare, "×", goals.bare),
        _figure(f"{name} CPU per chunk, Maru", [row.per_chunk for row in maru], "ms"),
        _figure(f"{name} CPU per chunk, tutorial", [row.per_chunk for row in tutorial], "ms"),
        _figure(f"{name} tutorial ÷ Maru", to_tutorial, "×", goals.tutorial, at_least=True),
        *_deliveries(name, maru),
        _figure(
            f"{name} delivered by the tutorial", [row.delivered * 100 for row in tutorial], "%"
        ),
        _figure(
            f"{name} Redis commands for text",
            [row.commands / row.streamed.chunks for row in maru],
            "per chunk",
            0.5 if workload.rate == 50 else None,
        ),
    ]
    core = max(row.received["core"] for rounds in rows.values() for row in rounds)
    note = f"a load client used {core:.0%} of a core, more than {MAX_CLIENT_CORE:.0%}"
    if core > MAX_CLIENT_CORE:
        return [Figure(f.name, None, f.unit, f.goal, note=note) for f in figures]
    goal = 100 * MAX_CLIENT_CORE
    return [*figures, Figure(f"{name} CPU of the busiest load client", core * 100, "%", goal)]


def _deliveries(name: str, maru: list[Row]) -> list[Figure]:
    delays = [row.delay for row in maru if row.delay is not None]
    wrong = [row.received["gaps"] + row.received["duplicates"] for row in maru]
    delivered = [row.delivered * 100 for row in maru]
    return [
        Figure(f"{name} delivered", min(delivered), "%", 100, tuple(delivered), at_least=True),
        Figure(f"{name} gaps and duplicates", max(wrong), "", 0, tuple(wrong)),
        _figure(f"{name} added latency, p50", [each["p50"] for each in delays], "ms", 5),
        _figure(f"{name} added latency, p99", [each["p99"] for each in delays], "ms", 50),
    ]


def _figure(
    name: str,
    rounds: list[float],
    unit: str,
    goal: float | None = None,
    *,
    at_least: bool = False,
) -> Figure:
    return Figure(name, median(rounds), unit, goal, tuple(rounds), at_least=at_least)
