"""Decide on calls in threads at once: `python -m tests.cluster.runs.concurrent_decisions N`.

In each of N rounds a run asks about a call. Then its worker lets it wait, the asker allows the call
and a moderator denies it, all at once; in every third round the asker also stops the run. Prints as
JSON for each round the decisions that were accepted, and the states of the run and the call.
"""

import json
import sys
from collections.abc import Callable
from threading import Barrier, Thread

import django

django.setup()

from django.db import connection  # noqa: E402  # models need django.setup()

from accounts.errors import Conflict  # noqa: E402
from accounts.models import User  # noqa: E402
from accounts.services import create_team, create_user  # noqa: E402
from accounts.services.teams import add_team_member  # noqa: E402
from agents.services import create_demo_persona  # noqa: E402
from rooms import services  # noqa: E402
from rooms.models import Run, ToolCall  # noqa: E402
from rooms.runs.leases import LeaseLost  # noqa: E402
from rooms.runs.steps import waiting  # noqa: E402
from tests.rooms import acting  # noqa: E402
from tests.rooms.conftest import Cast  # noqa: E402


def main(rounds: int) -> None:
    """Run the rounds and print their results."""
    cast = _cast()
    acting.set_policy(cast, acting.SEND, "ask")
    print(json.dumps([_round(cast, number) for number in range(rounds)]))


def _round(cast: Cast, number: int) -> dict[str, object]:
    job = acting.started(cast)
    call = acting.request()
    acting.propose(job, call)
    asked = acting.Asked(job, call.id)
    sha256 = asked.sha256
    accepted: list[str] = []

    def decide(user: User, decision: str) -> None:
        try:
            acting.decide(cast, asked, decision, user=user, arguments_sha256=sha256)
        except Conflict:
            return
        accepted.append(decision)

    def wait() -> None:
        try:
            waiting.wait(job, "so far", None)
        except LeaseLost:
            accepted.append("lease lost")

    work: list[Callable[[], object]] = [
        lambda: decide(cast.member, "allow"),
        lambda: decide(cast.moderator, "deny"),
        wait,
    ]
    if number % 3 == 2:
        work.append(lambda: services.cancel_run(user=cast.member, run_id=job.run))
    _run_at_once(work)
    run, row = Run.objects.get(pk=job.run), ToolCall.objects.get(pk=call.id)
    result = {"accepted": accepted, "run": run.state, "call": row.state, "resumed": run.resumed}
    if run.state == "queued":  # no worker is there; the next round claims its own run
        services.cancel_run(user=cast.member, run_id=job.run)
    return result


def _run_at_once(work: list[Callable[[], object]]) -> None:
    ready = Barrier(len(work))

    def start(one: Callable[[], object]) -> None:
        connection.ensure_connection()
        ready.wait()
        one()
        connection.close()

    threads = [Thread(target=start, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _cast() -> Cast:
    owner, moderator, member = (
        create_user(name=name, email=f"{name}@example.com", verified=True)
        for name in ("owner", "moderator", "member")
    )
    team = create_team(user=owner, name="Team")
    persona = create_demo_persona(user=owner, team_id=team.pk)
    room = services.create_room(user=owner, team_id=team.pk, name="room", personas=[persona.pk])
    for user in (moderator, member):
        add_team_member(team, user, "member")
        role = "moderator" if user == moderator else "member"
        services.put_member(user=owner, room_id=room.pk, member_id=user.pk, role=role)
    return Cast(team, room, persona, owner, moderator, member, member, owner, owner)


if __name__ == "__main__":
    main(int(sys.argv[1]))
