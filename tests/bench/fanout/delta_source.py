"""A worker of Maru without a model: it opens answers and streams text into them.

Everything else is as in a real answer: a message is posted, its run is claimed and started, the
chunks go through `rooms.runs.deltas`, and the run is completed.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import django
import uvloop

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "maru.settings")
django.setup()

from django.db import connection  # noqa: E402

from accounts.models import User  # noqa: E402
from maru.server.lifespan import running  # noqa: E402
from rooms import services  # noqa: E402
from rooms.executors import RUNS, in_thread  # noqa: E402
from rooms.fanout import publisher  # noqa: E402
from rooms.models import Room  # noqa: E402
from rooms.runs import leases, lifecycle  # noqa: E402
from rooms.runs.deltas import Deltas  # noqa: E402
from rooms.runs.lifecycle import Job  # noqa: E402
from rooms.runs.runner import HEARTBEAT_SECONDS  # noqa: E402
from rooms.socket import snapshots  # noqa: E402
from rooms.socket.joins import Join, authorize_many  # noqa: E402
from tests.cluster.harness.sessions import create_sessions  # noqa: E402
from tests.rooms.claiming import claim_and_start  # noqa: E402

OWNER: Final = "bench"


class DeltaSource:
    """Opens and streams answers. Its public methods are the requests."""

    async def seqs(self, rooms: Sequence[str]) -> list[int]:
        """Return the last seq of each room."""
        return await in_thread(RUNS, _seqs, rooms)

    async def sessions(self, users: Sequence[str]) -> list[str]:
        """Create a session for each user; return the cookies."""
        return await in_thread(RUNS, create_sessions, users)

    async def post(self, room: str, owner: str) -> None:
        """Post a message that starts no run."""
        await in_thread(RUNS, _post, room, owner)

    async def queries(self, room: str, user: str) -> int:
        """Return the number of queries that a snapshot of the room takes."""
        return await in_thread(RUNS, _queries, room, user)

    def __init__(self) -> None:
        self._jobs: list[Job] = []

    async def open(self, rooms: Sequence[str], owners: Sequence[str]) -> None:
        """Post a question in each room and start its answer."""
        self._jobs = await in_thread(RUNS, _open, rooms, owners)

    async def stream(self, rate: float, chunks: int, text: str) -> dict[str, Any]:
        """Stream `chunks` chunks of each open answer; return the send time of each delta."""
        jobs = self._jobs
        began = time.monotonic() + 0.1
        heartbeat = asyncio.create_task(_keep_leases(jobs))
        sent = await asyncio.gather(
            *(
                _stream(job, began + number / len(jobs) / rate, rate, chunks, text)
                for number, job in enumerate(jobs)
            )
        )
        heartbeat.cancel()
        return {
            "chunks": chunks * len(jobs),
            "sent": sent,
            "seconds": time.monotonic() - began,
        }

    async def end(self) -> None:
        """Complete the runs of all streamed answers."""
        await in_thread(RUNS, _complete)


def _post(room: str, owner: str) -> None:
    user = User.objects.get(pk=owner)
    services.post_message(user=user, room_id=UUID(room), text="One of many.", personas=[])


async def _stream(job: Job, began: float, rate: float, chunks: int, text: str) -> list[float]:
    deltas = _TimedDeltas(job)
    for number in range(chunks):
        await asyncio.sleep(max(began + number / rate - time.monotonic(), 0))
        await deltas.add(text)
    await deltas.close()
    answers.append((job, deltas.text))
    return deltas.sent


class _TimedDeltas(Deltas):
    """Records when each delta is sent: the lease is checked once per delta, right before."""

    def __init__(self, job: Job) -> None:
        super().__init__(job, self._check_lease)
        self.sent: list[float] = []

    async def _check_lease(self) -> bool:
        """Return True: no other worker exists, so the lease cannot be lost."""
        self.sent.append(time.monotonic())
        return True


answers: list[tuple[Job, str]] = []


def _open(rooms: Sequence[str], owners: Sequence[str]) -> list[Job]:
    """Post a question in every room and claim its run; return the jobs in the order of `rooms`."""
    for room, owner in zip(rooms, owners, strict=True):
        services.post_message(
            user=User.objects.get(pk=owner), room_id=UUID(room), text="What is a maru?"
        )
    jobs: dict[str, Job] = {}
    while taken := claim_and_start(OWNER):
        _run, job = taken
        assert job is not None
        jobs[str(job.room)] = job
    return [jobs[room] for room in rooms]


async def _keep_leases(jobs: Sequence[Job]) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        await in_thread(RUNS, leases.renew, OWNER, [job.run for job in jobs])


def _complete() -> None:
    while answers:
        job, text = answers.pop()
        lifecycle.complete(job, text, None)


def _seqs(rooms: Sequence[str]) -> list[int]:
    seqs = dict(Room.objects.filter(pk__in=rooms).values_list("pk", "last_seq"))
    return [seqs[UUID(room)] for room in rooms]


def _queries(room: str, user: str) -> int:
    count = 0

    def counting(execute: Any, *arguments: Any) -> Any:
        nonlocal count
        count += 1
        return execute(*arguments)

    person = User.objects.get(pk=user)
    with connection.execute_wrapper(counting):
        authorize_many([Join(person, UUID(room), is_counted=True)])
        snapshots.read_state(UUID(room))
    return count


async def main() -> None:
    """Handle one request per line of standard input."""
    source = DeltaSource()
    async with running(publisher.publisher.run(), "publisher"):
        while line := await asyncio.to_thread(sys.stdin.readline):
            fields = json.loads(line)
            action = getattr(source, fields.pop("do"))
            print(json.dumps(await action(**fields)), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
