"""A worker of Maru's without a model: it opens answers and streams text into them.

Everything goes the way of a real answer: a message is posted, its run is claimed and started,
chunks go into `rooms.runs.deltas`, and the run is completed. Only the chunks come from here.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from string import ascii_lowercase, digits
from typing import Any, Final
from uuid import UUID

import django
import uvloop

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "maru.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.contrib.sessions.models import Session  # noqa: E402
from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402
from django.utils.crypto import get_random_string  # noqa: E402

from accounts.models import User  # noqa: E402
from maru.server.lifespan import running  # noqa: E402
from rooms import services  # noqa: E402
from rooms.executors import RUNS, in_thread  # noqa: E402
from rooms.fanout import publisher  # noqa: E402
from rooms.models import Room  # noqa: E402
from rooms.runs import leases, lifecycle  # noqa: E402
from rooms.runs.deltas import Deltas  # noqa: E402
from rooms.runs.lifecycle import Job  # noqa: E402
from rooms.socket import snapshots  # noqa: E402

OWNER: Final = "bench"
LEASES_SECONDS: Final = 2.0


class Source:
    """The rooms that it talks in, and the answers that it has open there."""

    async def seqs(self, rooms: Sequence[str]) -> list[int]:
        """Return where each room's log ends."""
        return await in_thread(RUNS, _seqs, rooms)

    async def sessions(self, users: Sequence[str]) -> list[str]:
        """Sign everybody in; return their cookies."""
        return await in_thread(RUNS, _sessions, users)

    async def say(self, room: str, owner: str) -> None:
        """Say something that nobody answers."""
        await in_thread(RUNS, _say, room, owner)

    async def queries(self, room: str, user: str) -> int:
        """Return how many queries the room takes to be read afresh."""
        return await in_thread(RUNS, _queries, room, user)

    async def stream(
        self, rooms: Sequence[str], owners: Sequence[str], rate: float, chunks: int, text: str
    ) -> dict[str, Any]:
        """Answer in each room with so many chunks; return when each delta was sent."""
        jobs = await in_thread(RUNS, _open, rooms, owners)
        began = time.monotonic() + 0.1
        keeping = asyncio.create_task(_keep_leases(jobs))
        sent = await asyncio.gather(
            *(
                _talk(job, began + number / len(jobs) / rate, rate, chunks, text)
                for number, job in enumerate(jobs)
            )
        )
        keeping.cancel()
        return {
            "chunks": chunks * len(jobs),
            "sent": sent,
            "seconds": time.monotonic() - began,
        }

    async def end(self) -> None:
        """Complete what was streamed."""
        await in_thread(RUNS, _complete)


def _say(room: str, owner: str) -> None:
    user = User.objects.get(pk=owner)
    services.post_message(user=user, room_id=UUID(room), text="One of many.", personas=[])


async def _talk(job: Job, began: float, rate: float, chunks: int, text: str) -> list[float]:
    deltas = _Timed(job)
    for number in range(chunks):
        await asyncio.sleep(max(began + number / rate - time.monotonic(), 0))
        await deltas.add(text)
    await deltas.close()
    answers.append((job, deltas.text))
    return deltas.sent


async def _yes() -> bool:
    """Nobody takes these runs over."""
    return True


class _Timed(Deltas):
    """Notes when each delta sets out."""

    def __init__(self, job: Job) -> None:
        super().__init__(job, _yes)
        self.sent: list[float] = []

    async def _publish(self, text: str) -> None:
        self.sent.append(time.monotonic())
        await super()._publish(text)


answers: list[tuple[Job, str]] = []


def _open(rooms: Sequence[str], owners: Sequence[str]) -> list[Job]:
    """Ask in every room and take what is asked, in the order of the rooms."""
    for room, owner in zip(rooms, owners, strict=True):
        services.post_message(
            user=User.objects.get(pk=owner), room_id=UUID(room), text="What is a maru?"
        )
    jobs: dict[str, Job] = {}
    while taken := lifecycle.claim_and_start(OWNER):
        _run, job = taken
        assert job is not None
        jobs[str(job.room)] = job
    return [jobs[room] for room in rooms]


async def _keep_leases(jobs: Sequence[Job]) -> None:
    while True:
        await asyncio.sleep(LEASES_SECONDS)
        await in_thread(RUNS, leases.renew, OWNER, [job.run for job in jobs])


def _complete() -> None:
    while answers:
        job, text = answers.pop()
        lifecycle.complete(job, text, None)


def _seqs(rooms: Sequence[str]) -> list[int]:
    seqs = dict(Room.objects.filter(pk__in=rooms).values_list("pk", "last_seq"))
    return [seqs[UUID(room)] for room in rooms]


def _sessions(users: Sequence[str]) -> list[str]:
    store = SessionStore()
    made = [
        Session(
            session_key=get_random_string(32, ascii_lowercase + digits),
            session_data=store.encode(
                {
                    SESSION_KEY: str(user.pk),
                    BACKEND_SESSION_KEY: settings.AUTHENTICATION_BACKENDS[0],
                    HASH_SESSION_KEY: user.get_session_auth_hash(),
                }
            ),
            expire_date=timezone.now() + timedelta(days=1),
        )
        for user in User.objects.filter(pk__in=users)
    ]
    Session.objects.bulk_create(made)
    return [f"{settings.SESSION_COOKIE_NAME}={session.session_key}" for session in made]


def _queries(room: str, user: str) -> int:
    count = 0

    def counting(execute: Any, *arguments: Any) -> Any:
        nonlocal count
        count += 1
        return execute(*arguments)

    person = User.objects.get(pk=user)
    with connection.execute_wrapper(counting):
        snapshots.read_snapshot(person, UUID(room), None)
    return count


async def main() -> None:
    """Do what is said, one line after the other."""
    source = Source()
    async with running(publisher.publisher.run(), "publisher"):
        while line := await asyncio.to_thread(sys.stdin.readline):
            said = json.loads(line)
            do = getattr(source, said.pop("do"))
            print(json.dumps(await do(**said)), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
