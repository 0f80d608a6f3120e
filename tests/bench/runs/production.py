"""Runs in production: how soon they are claimed and stopped, what a worker adds, what it keeps."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import uvloop

from tests.bench.report.figures import Figure, percentile
from tests.bench.resources import Stage
from tests.cluster.harness.cluster import Cluster, cluster_of_its_own
from tests.cluster.harness.resource_usage import CountedWorker
from tests.cluster.harness.services import Postgres, missing
from tests.live import ROOT, PopulatedRoom, Socket

CLAIMS: Final = 60
STOPS: Final = 60
STREAMS: Final = 30
IDLE_SECONDS: Final = 12
WARM_RUNS: Final = 200
RUNS: Final = 500
AT_ONCE: Final = 25
QUICK: Final = "tokens-2"
LONG: Final = "tokens-3000@50"
STAMPED: Final = "stamped-300@50"

SELECT_CLAIMS: Final = """
    SELECT extract(epoch FROM l.served_at - r.queued_at) * 1000
    FROM rooms_teamquota l JOIN rooms_run r USING (team_id) WHERE r.id = %s
"""
"""One is asked at a time, so the line was last served for this one."""
SELECT_TRANSACTIONS: Final = """
    SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()
"""


def measure(stage: Stage) -> list[Figure]:
    """Measure two idle workers, then one that has much to do."""
    if absent := missing():
        return [Figure("runs in production", None, "", note=f"not installed: {', '.join(absent)}")]
    how: dict[str, Any] = {"webs": 1, "MARU_RUN_CONCURRENCY": str(STREAMS)}
    with TemporaryDirectory(prefix="maru-bench-") as folder:
        two, one = Path(folder) / "two", Path(folder) / "one"
        with cluster_of_its_own(two, stage.provider_address, workers=2, **how) as cluster:
            figures = _of_two_workers(cluster, stage.provider)
        how["worker"] = CountedWorker
        with cluster_of_its_own(one, stage.provider_address, **how) as cluster:
            return [*figures, *_of_one_worker(cluster, stage.provider)]


def _room(cluster: Cluster, provider: str, model: str) -> PopulatedRoom:
    (room,) = cluster.populate(1, 2, "--provider", provider, "--model", model)
    return room


# Two workers


def _of_two_workers(cluster: Cluster, provider: str) -> list[Figure]:
    quick, long = (_room(cluster, provider, model) for model in (QUICK, LONG))
    claimed = uvloop.run(_claims(cluster, quick))
    stopped = uvloop.run(_stops(cluster, long))
    return [
        Figure("committed to claimed, p50", percentile(claimed, 0.50), "ms", goal=8),
        Figure("committed to claimed, p95", percentile(claimed, 0.95), "ms", goal=20),
        Figure("stop acknowledged, p99", percentile(stopped, 0.99), "ms", goal=100),
        Figure("idle, both workers", _idle(cluster.postgres), "transactions/s", goal=3),
    ]


async def _claims(cluster: Cluster, room: PopulatedRoom) -> list[float]:
    """Ask one after the other; from the moment at which the run was made, so a little too long."""
    took = []
    async with _joined(cluster, room) as socket:
        for _ in range(CLAIMS):
            done = await socket.say(room.id, "Go on.")
            await socket.until_type("run.completed")
            with cluster.postgres.connect() as connection:
                found = connection.execute(SELECT_CLAIMS, done["result"]["runs"]).fetchone()
            assert found is not None
            took.append(float(found[0]))
    return took


async def _stops(cluster: Cluster, room: PopulatedRoom) -> list[float]:
    took = []
    async with _joined(cluster, room) as socket:
        for _ in range(STOPS):
            done = await socket.say(room.id, "Go on.")
            await socket.until_type("message.delta")
            began = time.perf_counter()
            await socket.command("run.cancel", run=done["result"]["runs"][0])
            took.append((time.perf_counter() - began) * 1000)
            socket.frames.clear()
    return took


def _idle(postgres: Postgres) -> float:
    """Return what is left to do when there is nothing to do; our own look is taken off."""
    with postgres.connect() as connection:

        def count() -> int:
            found = connection.execute(SELECT_TRANSACTIONS).fetchone()
            assert found is not None
            return int(found[0])

        time.sleep(15)  # PostgreSQL writes down what it has counted up to 10 s later
        before = count()
        time.sleep(IDLE_SECONDS)
        return (count() - before - 1) / IDLE_SECONDS


# One worker


def _of_one_worker(cluster: Cluster, provider: str) -> list[Figure]:
    (worker,) = cluster.workers
    assert isinstance(worker, CountedWorker)
    room, quick = (_room(cluster, provider, model) for model in (STAMPED, QUICK))
    delays, cost = uvloop.run(_streams(cluster, room, worker.pid))
    uvloop.run(_many(cluster, quick, WARM_RUNS))
    before = worker.look()
    uvloop.run(_many(cluster, quick, RUNS))
    after = worker.look()
    sdk, engine = (_cost_without_maru(what, provider) for what in ("sdk", "engine"))
    many = f"after {WARM_RUNS} runs and after {RUNS} more, one worker."
    return [
        Figure(
            f"added delay per chunk, {STREAMS} streams, p99", percentile(delays, 0.99), "ms", 100
        ),
        Figure(f"added delay per chunk, {STREAMS} streams, p50", median(delays), "ms"),
        Figure("CPU per chunk, engine / library", engine / sdk, "×", 1.5),
        Figure("CPU per chunk, the library", sdk, "µs"),
        Figure("CPU per chunk, the engine", engine, "µs"),
        Figure("CPU per chunk, the whole worker", cost, "µs", note="Coalescing and Redis are in."),
        Figure("RSS grown", after.megabytes - before.megabytes, "MB", goal=50, note=many),
        Figure("threads grown", after.threads - before.threads, "threads", goal=0),
        Figure("files grown", after.files - before.files, "files", goal=0),
        Figure("handlers of CrewAI grown", after.handlers - before.handlers, "handlers", goal=0),
    ]


async def _streams(cluster: Cluster, room: PopulatedRoom, pid: int) -> tuple[list[float], float]:
    """Have many answers stream; return how late their chunks came, and what each cost the worker.

    Each chunk says when the provider sent it, by the clock that all processes here share.
    """
    delays: list[float] = []
    async with _joined(cluster, room) as socket:
        await socket.say(room.id, "Go on.")
        await socket.until_type("run.completed")
        before = _worked(pid)
        for _ in range(STREAMS):
            await socket.say(room.id, "Go on.")
        ended = len(socket.of_type("run.completed"))
        while ended < STREAMS + 1:
            frame = await socket.receive()
            ended += frame["type"] == "run.completed"
            if frame["type"] == "message.delta":
                now = time.monotonic_ns()
                delays += [(now - int(stamp)) / 1e6 for stamp in frame["text"].split()]
        worked = _worked(pid) - before
    return delays, worked / (STREAMS * 300) * 1e6


async def _many(cluster: Cluster, room: PopulatedRoom, runs: int) -> None:
    """Have so many runs answered, a worker's fill at once."""
    async with _joined(cluster, room) as socket:
        for _ in range(min(AT_ONCE, runs)):
            await socket.say(room.id, "Go on.")
        asked, ended = min(AT_ONCE, runs), len(socket.of_type("run.completed"))
        while ended < runs:
            socket.frames.clear()
            frame = await socket.receive()
            if frame["type"] == "run.completed":
                ended += 1
                if asked < runs:
                    asked += 1
                    await socket.say(room.id, "Go on.")
                    ended += len(socket.of_type("run.completed")) - 1


def _cost_without_maru(what: str, provider: str) -> float:
    command = (
        sys.executable,
        "-m",
        "tests.bench.runs.stream_cost",
        what,
        provider,
        STAMPED,
        str(STREAMS),
    )
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _worked(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def _joined(cluster: Cluster, room: PopulatedRoom) -> AsyncIterator[Socket]:
    async with cluster.webs[0].socket(room.members[0]) as socket, asyncio.timeout(1_800):
        await socket.join(room.id)
        yield socket
