"""Claim runs in four threads at once: `python -m tests.cluster.runs.concurrent_claims BOUND`.

Creates a team that may have BOUND running runs, queues WAITING runs, and prints as JSON the claimed
runs and the milliseconds of each claim.
"""

import json
import sys
import time
from threading import Barrier, Thread
from uuid import UUID

import django

django.setup()

from django.db import connection  # noqa: E402  # models need django.setup()

from accounts.services import create_team, create_user  # noqa: E402
from agents.services import create_demo_persona  # noqa: E402
from rooms import services  # noqa: E402
from rooms.models import Run, TeamQuota  # noqa: E402
from rooms.runs import claims  # noqa: E402

WORKERS = 4
WAITING = 5_000


def main(bound: int) -> None:
    """Queue the runs, claim in threads until the quota is used, and print the result."""
    _queue_runs(bound)
    claimed: list[UUID] = []
    took: list[float] = []
    ready = Barrier(WORKERS)

    def work(owner: str) -> None:
        connection.ensure_connection()
        ready.wait()
        while True:
            began = time.perf_counter()
            runs = claims.claim(owner, limit=3)
            took.append((time.perf_counter() - began) * 1000)
            if not runs:
                break
            claimed.extend(each.run for each in runs)
        connection.close()

    threads = [Thread(target=work, args=(f"worker-{n}",)) for n in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"claimed": [str(run_id) for run_id in claimed], "ms": took}))


def _queue_runs(bound: int) -> None:
    user = create_user(name="Owner", email="owner@example.com", verified=True)
    team = create_team(user=user, name="Team")
    persona = create_demo_persona(user=user, team_id=team.pk)
    room = services.create_room(user=user, team_id=team.pk, name="room", personas=[persona.pk])
    posted = services.post_message(user=user, room_id=room.pk, text="hello")
    TeamQuota.objects.update_or_create(team=team, defaults={"runs_per_team": bound})
    Run.objects.bulk_create(
        [
            Run(room=room, team=team, message=posted.message, persona=persona, requested_by=user)
            for _ in range(WAITING - 1)
        ]
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
