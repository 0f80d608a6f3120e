"""Claim runs in several threads at once, and complete each job several times.

    python -m tests.chaos.runs.claim_threads ROOM RACES THREADS

Calls the functions that a worker calls, out of order and repeatedly, without a model. Prints
violations and figures as JSON.
"""

import json
import os
import random
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar
from uuid import UUID

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "maru.settings")
django.setup()

# Models can be imported only after django.setup().
from accounts.models import User  # noqa: E402
from rooms import services  # noqa: E402
from rooms.models import RoomMember  # noqa: E402
from rooms.runs import leases, lifecycle  # noqa: E402
from rooms.runs.leases import LeaseLost  # noqa: E402
from rooms.runs.lifecycle import Job  # noqa: E402
from tests.rooms.claiming import claim_and_start  # noqa: E402

T = TypeVar("T")
MAX_COMPLETIONS = 5
"""A job is completed at most this often."""


@dataclass
class ClaimRaces:
    """Threads, each with its own database connection, that start at the same moment."""

    threads: int
    violations: list[str] = field(default_factory=list)
    completions: int = 0

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(max(self.threads, MAX_COMPLETIONS))

    def race(self, user: User, room: UUID) -> None:
        """Claim one run in all threads, then complete its job several times.

        In half of the races the job is released and claimed again first; then the old attempt must
        be refused, and the new one accepted once.
        """
        (run,) = services.post_message(user=user, room_id=room, text="Who is first?").runs
        job = self._claim(run)
        if job is None:
            return
        if random.random() < 0.5:
            leases.release(job.owner)
            again = self._claim(run)
            self._complete(job, times=random.randint(2, MAX_COMPLETIONS), accepted=0)
            if again is None:
                return
            job = again
        self._complete(job, times=random.randint(2, MAX_COMPLETIONS), accepted=1)

    def _claim(self, run: UUID) -> Job | None:
        """Claim in all threads; return the job if exactly one thread got it."""
        taken = self._concurrently(
            [partial(claim_and_start, f"thread-{number}") for number in range(self.threads)]
        )
        jobs = [one[1] for one in taken if one is not None]
        if len(jobs) != 1 or jobs[0] is None or jobs[0].run != run:
            self.violations.append(f"run {run} was claimed by {len(jobs)} threads")
            return None
        return jobs[0]

    def _complete(self, job: Job, *, times: int, accepted: int) -> None:
        """Complete a job `times` times at once; `accepted` of the calls must succeed."""
        self.completions += times
        results = self._concurrently([partial(_try_to_complete, job)] * times)
        if sum(results) != accepted:
            self.violations.append(
                f"run {job.run}, attempt {job.attempt}: {sum(results)} completions were accepted"
            )

    def _concurrently(self, work: Sequence[Callable[[], T]]) -> list[T]:
        start = threading.Barrier(len(work))

        def run(one: Callable[[], T]) -> T:
            start.wait()
            return one()

        return list(self._pool.map(run, work))


def _try_to_complete(job: Job) -> bool:
    try:
        lifecycle.complete(job, f"answer of attempt {job.attempt}", None)
    except LeaseLost:
        return False
    return True


def main(room: str, races: str, threads: str) -> None:
    user = RoomMember.objects.get(room=UUID(room)).user
    claim_races = ClaimRaces(int(threads))
    for _ in range(int(races)):
        claim_races.race(user, UUID(room))
    figures = {"completions tried": claim_races.completions}
    print(json.dumps({"violations": claim_races.violations, "figures": figures}))


if __name__ == "__main__":
    main(*sys.argv[1:])
