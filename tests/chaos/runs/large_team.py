"""A team that grows without measure: its neighbours on the same processes must not notice.

The neighbour asks its persona again and again. The time to the end of the answer is measured alone,
and while the other team has a long queue, changes rooms without pause, gets thousands of members at
once, and is deleted.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

from websockets.exceptions import ConnectionClosed

from tests.bench.report.figures import percentile
from tests.chaos.target import QUICK, SLOW, Outcome, Target, ask, poll
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.recording_client import RecordingClients
from tests.cluster.harness.resource_usage import memory_bytes
from tests.live import Installation, PopulatedRoom

QUESTIONS: Final = 40
"""Questions of the neighbour in each phase."""
WARM_UP: Final = 5
MAX_GROWTH_MB: Final = 200
"""The growth of the memory of a web process."""
ENDED_SECONDS: Final = 120

QUEUE: Final = """
    INSERT INTO rooms_run (id, room_id, team_id, message_id, persona_id, requested_by_id, language,
                           state, attempt, lease_owner, error_code, queued_at)
    SELECT gen_random_uuid(), run.room_id, run.team_id, run.message_id, run.persona_id,
           run.requested_by_id, 'en', 'queued', 0, '', '', now() + n * interval '1 microsecond'
    FROM rooms_run AS run, generate_series(1, %s) AS n WHERE run.id = %s
"""
LIMITS: Final = """
    INSERT INTO rooms_teamquota (team_id, queued_per_team, queued_per_room, queued_per_user)
    VALUES (%(team)s, %(limit)s, %(limit)s, %(limit)s)
    ON CONFLICT (team_id) DO UPDATE SET queued_per_team = %(limit)s, queued_per_room = %(limit)s,
                                        queued_per_user = %(limit)s
"""
OPEN_RUNS: Final = """
    SELECT count(*) FROM rooms_run WHERE team_id = %s AND state IN ('queued', 'running')
"""
NAME: Final = "SELECT name FROM accounts_team WHERE id = %s"


ADD: Final = """
from django.db import transaction
from accounts.models import User
from rooms.models import Room
from rooms.services.people.members import add_members
with transaction.atomic():
    room = Room.objects.locked().get(pk="{room}")
    add_members(room, list(User.objects.filter(room_memberships__room="{other}")), "member")
"""
DELETE: Final = """
from accounts.models import User
from accounts.services.teams import delete_team
delete_team(user=User.objects.get(pk="{user}"), team_id="{team}", name="{name}")
"""


async def outgrow(target: Target, *, prompts: int, members: int) -> Outcome:
    """Give one team `prompts` queued runs, and add `members` members to one of its rooms."""
    provider = ("--provider", target.provider.base_url)
    crowd, other = target.cluster.populate(2, members, *provider, "--model", SLOW)
    phases: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
        "a long queue": lambda: _queue(target.cluster, crowd, prompts),
        "joins without pause": lambda: _join_without_pause(target.cluster, (crowd, other)),
        "new members": lambda: _manage(target.cluster, ADD.format(room=crowd.id, other=other.id)),
        "deletion": lambda: _delete(target.cluster, crowd),
    }
    async with target.clients() as clients:
        await _ask(clients, WARM_UP)
        before = [_memory(web) for web in target.cluster.webs]
        delays = {"alone": await _ask(clients, QUESTIONS)}
        for name, act in phases.items():
            acting = asyncio.create_task(act())
            delays[name] = await _ask(clients, QUESTIONS)
            if act is phases["joins without pause"]:
                acting.cancel()
            with suppress(asyncio.CancelledError):
                await acting
        outcome = await target.check(clients)
    left = await poll(lambda: _open_runs(target.cluster, crowd) == 0, ENDED_SECONDS)
    after = [_memory(web) for web in target.cluster.webs]
    growth = max(now - was for now, was in zip(after, before, strict=True))
    if growth > MAX_GROWTH_MB:
        outcome.violations.append(f"a web process has grown by {growth:.0f} MB")
    for name, each in delays.items():
        outcome.figures[f"{name}, answer p50 (ms)"] = 1000 * percentile(each, 0.5)
        outcome.figures[f"{name}, answer p99 (ms)"] = 1000 * percentile(each, 0.99)
    outcome.figures["end of the deleted team's runs (s)"] = left
    outcome.figures["growth of a web process (MB)"] = growth
    return outcome


async def _ask(clients: RecordingClients, times: int) -> list[float]:
    """Ask one question after another; return the seconds to the end of each answer."""
    took = []
    for number in range(times):
        client = clients.any_in(clients.rooms[number % len(clients.rooms)])
        began = time.monotonic()
        await (await ask(client, QUICK)).until_ended()
        took.append(time.monotonic() - began)
    return took


async def _queue(cluster: Cluster, room: PopulatedRoom, prompts: int) -> None:
    """Queue runs: one by a message, the others as its copies."""
    async with cluster.webs[0].socket(room.members[0]) as socket:
        await socket.join(room.id)
        done = await socket.say(room.id, "Go on.")
    (run,) = done["result"]["runs"]
    await asyncio.to_thread(_copy_run, cluster, run, room.team, prompts)


def _copy_run(cluster: Cluster, run: str, team: str, prompts: int) -> None:
    with cluster.postgres.connect() as connection:
        connection.execute(LIMITS, {"team": team, "limit": 2 * prompts})
        connection.execute(QUEUE, [prompts, run])


async def _join_without_pause(cluster: Cluster, rooms: Sequence[PopulatedRoom]) -> None:
    """Join and leave rooms until the task is cancelled.

    The server refuses joins above the limit, and closes the connection of a client that goes on.
    """
    (web, *_others), (person, *_members) = cluster.webs, rooms[0].members
    while True:
        with suppress(ConnectionClosed):
            async with web.socket(person) as socket:
                while True:
                    await socket.join(rooms[0].id)
                    await socket.command("room.leave", room=rooms[0].id)
                    socket.frames.clear()


async def _delete(cluster: Cluster, room: PopulatedRoom) -> None:
    with cluster.postgres.connect() as connection:
        (name,) = connection.execute(NAME, [room.team]).fetchone() or ("",)
    code = DELETE.format(user=room.members[0].user, team=room.team, name=name)
    await _manage(cluster, code)


async def _manage(cluster: Cluster, code: str) -> None:
    """Run Python code in a process of the installation."""
    await asyncio.to_thread(cluster.manage, "shell", "--verbosity", "0", "--command", code)


def _open_runs(cluster: Cluster, room: PopulatedRoom) -> int:
    with cluster.postgres.connect() as connection:
        found = connection.execute(OPEN_RUNS, [room.team]).fetchone()
    assert found is not None
    return int(found[0])


def _memory(web: Installation) -> float:
    assert web.process is not None
    return memory_bytes(web.process.pid) / 2**20
