"""Runs in a production cluster: claim and stop times, cost per chunk, growth of a worker."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import uvloop

from tests.bench.report.figures import Figure, percentile
from tests.bench.resources import Resources
from tests.cluster.harness.cluster import Cluster, private_cluster
from tests.cluster.harness.resource_usage import MeasuredWorker, cpu_seconds
from tests.cluster.harness.services import Postgres, missing_packages
from tests.live import ROOT, PopulatedRoom, Socket

CLAIMS: Final = 60
STOPS: Final = 60
ANSWERING: Final = 20
STREAMS: Final = 30
IDLE_SECONDS: Final = 12
WARM_RUNS: Final = 200
RUNS: Final = 500
CONCURRENCY: Final = 25
QUICK: Final = "tokens-2"
LONG: Final = "tokens-3000@50"
STAMPED: Final = "stamped-300@50"

SELECT_CLAIMS: Final = """
    SELECT extract(epoch FROM l.served_at - r.queued_at) * 1000
    FROM rooms_teamquota l JOIN rooms_run r USING (team_id) WHERE r.id = %s
"""
"""Only one run is asked for at a time, so `served_at` is the time of its claim."""
SELECT_TRANSACTIONS: Final = """
    SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()
"""


def measure(resources: Resources) -> list[Figure]:
    """Measure with two workers, then with one worker under load."""
    if absent := missing_packages():
        return [Figure("runs in production", None, "", note=f"not installed: {', '.join(absent)}")]
    options: dict[str, Any] = {"webs": 1, "MARU_RUN_CONCURRENCY": str(STREAMS)}
    with TemporaryDirectory(prefix="maru-bench-") as folder:
        two, one = Path(folder) / "two", Path(folder) / "one"
        with private_cluster(two, resources.provider_address, workers=2, **options) as cluster:
            figures = _measure_two_workers(cluster, resources.provider)
        options["worker"] = MeasuredWorker
        with private_cluster(one, resources.provider_address, **options) as cluster:
            return [*figures, *_measure_one_worker(cluster, resources.provider)]


def _room(cluster: Cluster, provider: str, model: str) -> PopulatedRoom:
    (room,) = cluster.populate(1, 2, "--provider", provider, "--model", model)
    return room


def _measure_two_workers(cluster: Cluster, provider: str) -> list[Figure]:
    quick, long = (_room(cluster, provider, model) for model in (QUICK, LONG))
    claimed = uvloop.run(_claims(cluster, quick))
    stopped = uvloop.run(_stops(cluster, long, _room(cluster, provider, LONG)))
    return [
        Figure("committed to claimed, p50", percentile(claimed, 0.50), "ms", goal=8),
        Figure("committed to claimed, p95", percentile(claimed, 0.95), "ms", goal=20),
        Figure(
            f"stop acknowledged while {ANSWERING} answer, p99",
            percentile(stopped, 0.99),
            "ms",
            goal=100,
        ),
        Figure("idle, both workers", _idle(cluster.postgres), "transactions/s", goal=3),
    ]


async def _claims(cluster: Cluster, room: PopulatedRoom) -> list[float]:
    """Ask one run at a time; return the milliseconds from queued_at to the claim.

    queued_at is set before the commit, so the time is slightly too long.
    """
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


async def _stops(cluster: Cluster, room: PopulatedRoom, others: PopulatedRoom) -> list[float]:
    """Stop one answer after another while ANSWERING others stream; return the milliseconds."""
    took = []
    async with _joined(cluster, room) as socket, _answering(cluster, others):
        for _ in range(STOPS):
            done = await socket.say(room.id, "Go on.")
            await socket.until_type("message.delta")
            began = time.perf_counter()
            await socket.command("run.cancel", run=done["result"]["runs"][0])
            took.append((time.perf_counter() - began) * 1000)
            socket.frames.clear()
    return took


@asynccontextmanager
async def _answering(cluster: Cluster, room: PopulatedRoom) -> AsyncIterator[None]:
    """Have ANSWERING answers stream until the end; each one that completes is followed by one."""
    async with _joined(cluster, room) as socket:
        running: set[str] = set()

        async def start() -> None:
            done = await socket.say(room.id, "Go on.")
            running.update(done["result"]["runs"])

        async def keep() -> None:
            while True:
                frame = await socket.receive()
                socket.frames.clear()
                if frame["type"] == "run.completed":
                    running.discard(frame["run"]["id"])
                    await start()

        for _ in range(ANSWERING):
            await start()
        keeping = asyncio.create_task(keep())
        try:
            yield
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
            for run in running:
                await socket.command("run.cancel", run=run)


def _idle(postgres: Postgres) -> float:
    """Return the transactions per second of an idle cluster, without the one that measures."""
    with postgres.connect() as connection:

        def count() -> int:
            found = connection.execute(SELECT_TRANSACTIONS).fetchone()
            assert found is not None
            return int(found[0])

        time.sleep(15)  # PostgreSQL publishes its statistics up to 10 s later
        before = count()
        time.sleep(IDLE_SECONDS)
        return (count() - before - 1) / IDLE_SECONDS


def _measure_one_worker(cluster: Cluster, provider: str) -> list[Figure]:
    (worker,) = cluster.workers
    assert isinstance(worker, MeasuredWorker)
    room, quick = (_room(cluster, provider, model) for model in (STAMPED, QUICK))
    delays, cost = uvloop.run(_streams(cluster, room, worker.pid))
    uvloop.run(_complete_runs(cluster, quick, WARM_RUNS))
    before = worker.usage()
    uvloop.run(_complete_runs(cluster, quick, RUNS))
    after = worker.usage()
    sdk, engine = (_cost_without_maru(library, provider) for library in ("sdk", "engine"))
    note = f"after {WARM_RUNS} runs and after {RUNS} more runs, one worker."
    return [
        Figure(
            f"added delay per chunk, {STREAMS} streams, p99", percentile(delays, 0.99), "ms", 100
        ),
        Figure(f"added delay per chunk, {STREAMS} streams, p50", median(delays), "ms"),
        Figure("CPU per chunk, engine ÷ library", engine / sdk, "×", 1.5),
        Figure("CPU per chunk, the library", sdk, "µs"),
        Figure("CPU per chunk, the engine", engine, "µs"),
        Figure(
            "CPU per chunk, the whole worker", cost, "µs", note="including coalescing and Redis."
        ),
        Figure("RSS growth", after.megabytes - before.megabytes, "MB", goal=50, note=note),
        Figure("more threads", after.threads - before.threads, "threads", goal=0),
        Figure("more file descriptors", after.files - before.files, "files", goal=0),
        Figure("more CrewAI handlers", after.handlers - before.handlers, "handlers", goal=0),
    ]


async def _streams(cluster: Cluster, room: PopulatedRoom, pid: int) -> tuple[list[float], float]:
    """Stream many answers; return the delay of each chunk (ms) and the CPU per chunk (µs).

    The text of a chunk is the time at which the provider sent it (monotonic clock, nanoseconds).
    """
    delays: list[float] = []
    async with _joined(cluster, room) as socket:
        await socket.say(room.id, "Go on.")
        await socket.until_type("run.completed")
        before = cpu_seconds(pid)
        for _ in range(STREAMS):
            await socket.say(room.id, "Go on.")
        ended = len(socket.of_type("run.completed"))
        while ended < STREAMS + 1:
            frame = await socket.receive()
            ended += frame["type"] == "run.completed"
            if frame["type"] == "message.delta":
                now = time.monotonic_ns()
                delays += [(now - int(stamp)) / 1e6 for stamp in frame["text"].split()]
        used = cpu_seconds(pid) - before
    return delays, used / (STREAMS * 300) * 1e6


async def _complete_runs(cluster: Cluster, room: PopulatedRoom, runs: int) -> None:
    """Complete `runs` runs, at most CONCURRENCY at a time."""
    async with _joined(cluster, room) as socket:
        for _ in range(min(CONCURRENCY, runs)):
            await socket.say(room.id, "Go on.")
        asked, ended = min(CONCURRENCY, runs), len(socket.of_type("run.completed"))
        while ended < runs:
            socket.frames.clear()
            frame = await socket.receive()
            if frame["type"] == "run.completed":
                ended += 1
                if asked < runs:
                    asked += 1
                    await socket.say(room.id, "Go on.")
                    ended += len(socket.of_type("run.completed")) - 1


def _cost_without_maru(library: str, provider: str) -> float:
    command = (
        sys.executable,
        "-m",
        "tests.bench.runs.stream_cost",
        library,
        provider,
        STAMPED,
        str(STREAMS),
    )
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout)


@asynccontextmanager
async def _joined(cluster: Cluster, room: PopulatedRoom) -> AsyncIterator[Socket]:
    async with cluster.webs[0].socket(room.members[0]) as socket, asyncio.timeout(1_800):
        await socket.join(room.id)
        yield socket
