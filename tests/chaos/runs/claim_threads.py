"""Claim runs in several threads at once, as several workers would.

    python -m tests.chaos.runs.claim_threads ROOM RACES CLAIMANTS

Prints what was wrong, as JSON. It answers nothing: what a worker would do with a job is done here
several times over, and in the wrong order.
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

# Models can be imported once Django is set up.
from accounts.models import User  # noqa: E402
from rooms import services  # noqa: E402
from rooms.models import RoomMember  # noqa: E402
from rooms.runs import leases, lifecycle  # noqa: E402
from rooms.runs.leases import LeaseLost  # noqa: E402
from rooms.runs.lifecycle import Job  # noqa: E402

T = TypeVar("T")
MOST = 5
"""So often a job is delivered at most."""


@dataclass
class Claimants:
    """Threads with a connection each, which all begin in the same moment."""

    number: int
    complaints: list[str] = field(default_factory=list)
    repeats: int = 0

    def __post_init__(self) -> None:
        self._threads = ThreadPoolExecutor(max(self.number, MOST))

    def race(self, user: User, room: UUID) -> None:
        """Let all after one run, then hand its job to several, before and after it was retaken."""
        (run,) = services.post_message(user=user, room_id=room, text="Who is first?").runs
        first = self._only_job(run)
        if first is None:
            return
        if random.random() < 0.5:
            leases.release(first.owner)
            again = self._only_job(run)
            self._deliver(first, times=random.randint(2, MOST), accepted=0)
            if again is None:
                return
            first = again
        self._deliver(first, times=random.randint(2, MOST), accepted=1)

    def _only_job(self, run: UUID) -> Job | None:
        """Have all of them take a run; return the job that one of them got, if it was one."""
        taken = self._at_once(
            [
                partial(lifecycle.claim_and_start, f"claimant-{number}")
                for number in range(self.number)
            ]
        )
        jobs = [one[1] for one in taken if one is not None]
        if len(jobs) != 1 or jobs[0] is None or jobs[0].run != run:
            self.complaints.append(f"run {run} was given to {len(jobs)}")
            return None
        return jobs[0]

    def _deliver(self, job: Job, *, times: int, accepted: int) -> None:
        """Complete the same job several times at once; so many of these must be accepted."""
        self.repeats += times
        took = self._at_once([partial(_complete, job)] * times)
        if sum(took) != accepted:
            self.complaints.append(f"job {job.run}:{job.attempt} was accepted {sum(took)} times")

    def _at_once(self, work: Sequence[Callable[[], T]]) -> list[T]:
        start = threading.Barrier(len(work))

        def begin(one: Callable[[], T]) -> T:
            start.wait()
            return one()

        return list(self._threads.map(begin, work))


def _complete(job: Job) -> bool:
    try:
        lifecycle.complete(job, f"answered under attempt {job.attempt}", None)
    except LeaseLost:
        return False
    return True


def main(room: str, races: str, claimants: str) -> None:
    """Race, and print the outcome."""
    user = RoomMember.objects.get(room=UUID(room)).user
    all_of_them = Claimants(int(claimants))
    for _ in range(int(races)):
        all_of_them.race(user, UUID(room))
    figures = {"jobs delivered again": all_of_them.repeats}
    print(json.dumps({"complaints": all_of_them.complaints, "figures": figures}))


if __name__ == "__main__":
    main(*sys.argv[1:])
