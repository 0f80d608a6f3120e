"""Text that streams to many sockets: the same workloads at three servers, in turn."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import redis

from tests.bench.fanout.line_process import Helper
from tests.bench.fanout.servers import Bare, Contender, Maru, Streamed, Tutorial, Workload
from tests.bench.report.figures import Figure
from tests.bench.resources import Stage
from tests.cluster.harness.services import missing

ROUNDS: Final = 3
BUSY: Final = 0.5
"""Share of a core that a load client may use: beyond, it may be what is measured."""


@dataclass(frozen=True)
class Goals:
    """What issue 3 wants of a workload."""

    bare: float
    tutorial: float


WORKLOADS: Final = {
    Workload("W1", rooms=1, members=200, rate=50, tutorial_chunks=60): Goals(1.3, 60),
    Workload("W2", rooms=100, members=5, rate=30, tutorial_chunks=20): Goals(1.3, 30),
    Workload("W3", rooms=1, members=1_000, rate=50, tutorial_chunks=25): Goals(1.15, 140),
}


@dataclass(frozen=True)
class Row:
    """One server in one round of one workload."""

    streamed: Streamed
    cpu: float
    heard: dict[str, float]
    late: dict[str, float] | None
    commands: int

    @property
    def per_frame(self) -> float:
        """Microseconds of the server's CPU for each frame that was delivered."""
        return self.cpu / self.heard["frames"] * 1e6

    @property
    def per_chunk(self) -> float:
        """Milliseconds of the server's CPU for each chunk that went in and was delivered."""
        return self.cpu / (self.streamed.chunks * self.delivered) * 1e3

    @property
    def delivered(self) -> float:
        return self.heard["frames"] / self.streamed.frames


def measure(stage: Stage) -> list[Figure]:
    """Run each workload at each server, three times, one after the other."""
    if absent := missing():
        return [Figure("fan-out", None, "×", note=f"not installed: {', '.join(absent)}")]
    with ExitStack() as stack:
        maru = Maru(stage.folder, stack, stage.production("fanout"))
        tutorial = Tutorial(stage.folder, stack, stage.redis.url)
        bare = Bare(stage.folder, stack)
        with stage.redis.connect() as connection:
            return [
                figure
                for workload, goals in WORKLOADS.items()
                for figure in _figures(
                    workload,
                    goals,
                    _rounds(workload, (maru, bare, tutorial), stage.folder, connection),
                )
            ]


def _rounds(
    workload: Workload,
    contenders: tuple[Maru, Bare, Tutorial],
    folder: Path,
    connection: redis.Redis,
) -> dict[str, list[Row]]:
    rows: dict[str, list[Row]] = {contender.name: [] for contender in contenders}
    with ExitStack() as stack:
        clients = {
            contender.name: stack.enter_context(
                Helper("tests.bench.fanout.load_client", log=folder / "client.log")
            )
            for contender in contenders
        }
        for contender in contenders:
            contender.take_seats(clients[contender.name], workload)
        maru, bare, _tutorial = contenders
        for _round in range(ROUNDS):
            for contender in contenders:
                row = _run(contender, clients[contender.name], workload, connection)
                rows[contender.name].append(row)
                if contender is maru:
                    maru.end_answers()
                    bare.imitate(row.streamed, row.heard, workload)
    return rows


def _run(contender: Contender, client: Helper, workload: Workload, connection: redis.Redis) -> Row:
    commands, cpu = _commands(connection), contender.cpu()
    client.tell("hear", mark=contender.mark)
    streamed = contender.stream(workload)
    client.tell("until", frames=streamed.frames, sent=streamed.sent)
    heard = client.answer()
    cpu, commands = contender.cpu() - cpu, _commands(connection) - commands
    return Row(streamed, cpu, heard, heard.pop("late"), commands)


def _commands(connection: redis.Redis) -> int:
    """Return how many commands carried text so far, those inside of scripts included."""
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
        _figure(f"{name} Maru : bare limit", to_bare, "×", goals.bare),
        _figure(f"{name} CPU per chunk, Maru", [row.per_chunk for row in maru], "ms"),
        _figure(f"{name} CPU per chunk, tutorial", [row.per_chunk for row in tutorial], "ms"),
        _figure(f"{name} tutorial : Maru", to_tutorial, "×", goals.tutorial, at_least=True),
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
    busiest = max(row.heard["core"] for rounds in rows.values() for row in rounds)
    note = f"a load client used {busiest:.0%} of a core, more than {BUSY:.0%}"
    if busiest > BUSY:
        return [Figure(f.name, None, f.unit, f.goal, note=note) for f in figures]
    return [*figures, Figure(f"{name} busiest load client", busiest * 100, "%", 100 * BUSY)]


def _deliveries(name: str, maru: list[Row]) -> list[Figure]:
    late = [row.late for row in maru if row.late is not None]
    wrong = [row.heard["gaps"] + row.heard["doubles"] for row in maru]
    delivered = [row.delivered * 100 for row in maru]
    return [
        Figure(f"{name} delivered", min(delivered), "%", 100, tuple(delivered), at_least=True),
        Figure(f"{name} gaps and doubles", max(wrong), "", 0, tuple(wrong)),
        _figure(f"{name} added latency, p50", [each["p50"] for each in late], "ms", 5),
        _figure(f"{name} added latency, p99", [each["p99"] for each in late], "ms", 50),
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
