"""What 1,000 runs that wait for people cost an idle cluster, and how long other questions take.

The rows of the waiting runs are copies of a run that has ended. A decision on one of them shows
that they are what they are taken for: its run goes on and completes.
"""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import psycopg
import uvloop

from tests.bench.report.figures import Figure, percentile
from tests.bench.resources import Resources
from tests.bench.runs.production import SELECT_TRANSACTIONS
from tests.cluster.harness.acting import decide, pending
from tests.cluster.harness.cluster import Cluster, private_cluster
from tests.cluster.harness.resource_usage import cpu_seconds
from tests.cluster.harness.services import missing_packages
from tests.live import PopulatedRoom, Socket

RUNS: Final = 1_000
MODEL: Final = "tokens-2"
WARM_UP: Final = 5
QUESTIONS: Final = 25
"""Asked twice. A user may post 60 messages in 30 s."""
SETTLE_SECONDS: Final = 10
"""PostgreSQL publishes its statistics up to 10 s later."""
IDLE_SECONDS: Final = 8
SAME: Final = 1.15
"""A time that is less than this factor longer is the same: so much it varies without a cause."""

WAIT: Final = """
from datetime import timedelta
from hashlib import sha256
from django.utils import timezone
from msgspec import to_builtins
from rooms.models import Message, ModelRequest, Run, ToolCall
from rooms.protocol.serializers import step

def copy(row, **changed):
    columns = [field.attname for field in row._meta.concrete_fields if not field.primary_key]
    return type(row)(**{name: getattr(row, name) for name in columns} | changed)

ended = Run.objects.select_related("answer").get(pk="RUN")
count = COUNT
answers = [
    # Above each seq of an event: the log of the room must have no gap.
    copy(ended.answer, seq=1_000_000 + number, status="streaming")
    for number in range(1, count + 1)
]
runs = [
    copy(ended, answer_id=each.pk, state="waiting", started_at=None, ended_at=None)
    for each in answers
]
calls = [
    ToolCall(
        run=each, request=0, position=0, call_id="call_0", name="send", title="Send",
        arguments="{}", arguments_sha256=sha256(b"{}").hexdigest(), state="asked",
        asked_of=[str(each.requested_by_id)], expires_at=timezone.now() + timedelta(hours=24),
    )
    for each in runs
]
for answer, call in zip(answers, calls, strict=True):
    answer.steps = [to_builtins(step(call))]
Message.objects.bulk_create(answers)
Run.objects.bulk_create(runs)
ModelRequest.objects.bulk_create(ModelRequest(run=each, number=0) for each in runs)
ToolCall.objects.bulk_create(calls)
"""
SELECT_CONNECTIONS: Final = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
    AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
SELECT_SLOTS: Final = "SELECT coalesce(sum(running), 0) FROM rooms_worker"


@dataclass(frozen=True)
class Idle:
    """What an idle cluster uses: per second, and at the end of the measurement."""

    transactions: float
    worker: float
    slots: int
    postgres: int
    redis: int


def measure(resources: Resources) -> list[Figure]:
    """Measure one cluster before and after the runs begin to wait."""
    if absent := missing_packages():
        return [Figure("waiting runs", None, "", note=f"not installed: {', '.join(absent)}")]
    # The limits are on, because they count the waiting runs of the team with each question.
    bounds = {f"MARU_QUEUED_PER_{scope}": str(2 * RUNS) for scope in ("USER", "ROOM", "TEAM")}
    with (
        TemporaryDirectory(prefix="maru-bench-") as folder,
        private_cluster(
            Path(folder) / "cluster",
            resources.provider_address,
            webs=1,
            MARU_RATE_LIMITS="on",
            **bounds,
        ) as cluster,
    ):
        asking, waiting = cluster.populate(2, 1, "--provider", resources.provider, "--model", MODEL)
        return uvloop.run(_measure(cluster, asking, waiting))


async def _measure(cluster: Cluster, asking: PopulatedRoom, waiting: PopulatedRoom) -> list[Figure]:
    async with AsyncExitStack() as stack:
        sockets = []
        for room in (asking, waiting):
            socket = await stack.enter_async_context(cluster.webs[0].socket(room.members[0]))
            await socket.join(room.id)
            sockets.append(socket)
        asker, waiter = sockets
        ended, _took = await _ask(waiter, waiting)
        for _ in range(WARM_UP):
            await _ask(asker, asking)
        before = [(await _ask(asker, asking))[1] for _ in range(QUESTIONS)]
        await asyncio.sleep(SETTLE_SECONDS)
        alone = await _idle(cluster)
        code = WAIT.replace("RUN", ended).replace("COUNT", str(RUNS))
        await asyncio.to_thread(cluster.manage, "shell", "--no-imports", "-c", code)
        among = await _idle(cluster)
        after = [(await _ask(asker, asking))[1] for _ in range(QUESTIONS)]
        await _go_on(cluster, waiting, waiter)
    return [*_figures(alone, among), *_times(before, after)]


async def _ask(socket: Socket, room: PopulatedRoom) -> tuple[str, float]:
    """Ask a question; return its run, and the milliseconds until the answer is complete."""
    socket.frames.clear()
    began = time.perf_counter()
    done = await socket.say(room.id, "Go on.")
    (run,) = done["result"]["runs"]
    if not socket.of_type("run.completed"):
        await socket.until_type("run.completed")
    return run, (time.perf_counter() - began) * 1000


async def _idle(cluster: Cluster) -> Idle:
    (worker,) = cluster.workers
    with cluster.postgres.connect() as connection, cluster.redis.connect() as redis:
        transactions, cpu = _count(connection, SELECT_TRANSACTIONS), cpu_seconds(worker.pid)
        await asyncio.sleep(IDLE_SECONDS)
        used = cpu_seconds(worker.pid) - cpu
        # The transaction that measures is one of them.
        ended = _count(connection, SELECT_TRANSACTIONS) - transactions - 1
        return Idle(
            transactions=ended / IDLE_SECONDS,
            worker=used / IDLE_SECONDS * 100,
            slots=_count(connection, SELECT_SLOTS),
            postgres=_count(connection, SELECT_CONNECTIONS),
            redis=int(redis.info("clients")["connected_clients"]) - 1,
        )


def _count(connection: psycopg.Connection, select: str) -> int:
    found = connection.execute(select.encode()).fetchone()
    assert found is not None
    return int(found[0])


async def _go_on(cluster: Cluster, room: PopulatedRoom, socket: Socket) -> None:
    """Decide on the call of one waiting run, which then completes."""
    (person,) = room.members
    (approval, *_others) = await asyncio.to_thread(pending, cluster.webs[0], person)
    assert await asyncio.to_thread(decide, cluster.webs[0], person, approval, "deny")
    await socket.until_type("run.completed")


def _figures(alone: Idle, among: Idle) -> list[Figure]:
    return [
        Figure("idle, without waiting runs", alone.transactions, "transactions/s", goal=3),
        Figure(
            f"idle, {RUNS:,} waiting runs",
            among.transactions,
            "transactions/s",
            goal=alone.transactions + 0.5,
        ),
        Figure("idle, CPU of the worker, without waiting runs", alone.worker, "%"),
        Figure(
            f"idle, CPU of the worker, {RUNS:,} waiting runs",
            among.worker,
            "%",
            goal=alone.worker + 0.5,
        ),
        Figure(f"slots in use, {RUNS:,} waiting runs", among.slots, "slots", goal=0),
        Figure("connections to PostgreSQL, without waiting runs", alone.postgres, "connections"),
        Figure(
            f"connections to PostgreSQL, {RUNS:,} waiting runs",
            among.postgres,
            "connections",
            goal=alone.postgres,
        ),
        Figure("connections to Redis, without waiting runs", alone.redis, "connections"),
        Figure(
            f"connections to Redis, {RUNS:,} waiting runs",
            among.redis,
            "connections",
            goal=alone.redis,
        ),
    ]


def _times(before: list[float], after: list[float]) -> list[Figure]:
    alone, among = percentile(before, 0.50), percentile(after, 0.50)
    name = "a question and its answer, p50"
    return [
        Figure(f"{name}, without waiting runs", alone, "ms"),
        Figure(f"{name}, {RUNS:,} waiting runs", among, "ms", goal=SAME * alone),
    ]
