"""A team of 10,000 people, and a user with 500 rooms in which nothing is read.

`python -m tests.bench.pages.large_team build|pages|activity` runs in the environment of an
installation and prints its result as JSON.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from subprocess import run
from typing import Any, Final

from tests.bench.resources import Resources
from tests.live import ROOT, Installation

PEOPLE: Final = 10_000
ROOMS: Final = 500
UNREAD: Final = 1_000
"""In each room, which has 20 members; the first room has 2,000."""
CROWD: Final = 2_000
ROUNDS: Final = 20
USER: Final = "owner@example.com"

INSERT_MESSAGES: Final = """
    INSERT INTO rooms_message (id, room_id, seq, user_id, author_kind, author_name, author_handle,
                               text, html, status, created_at, reactions)
    SELECT gen_random_uuid(), room.id, room.last_seq + n, %(author)s, 'user', 'A person', 'person',
           'Message ' || n, '<p>Message ' || n || '</p>', 'complete', now(), '{}'
    FROM rooms_room AS room, generate_series(1, %(count)s) AS n
"""
COUNT_MESSAGES: Final = """
    UPDATE rooms_room SET last_seq = last_seq + %(count)s, message_count = %(count)s,
                          last_message_at = now()
"""


@cache
def built(resources: Resources) -> Installation:
    """Return an installation whose database has the team; it is built once for all parts."""
    installation = resources.production("large_team")
    installation.manage("collectstatic", "--noinput", "--verbosity", "0")
    ask(installation, "build")
    return installation


def ask(installation: Installation, action: str) -> Any:
    """Run an action of this module in the environment of the installation; return its result."""
    command = [sys.executable, "-m", __spec__.name, action]
    env = {**installation.env, "DJANGO_SETTINGS_MODULE": "maru.settings"}
    done = run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def build() -> None:
    """Create the people, the rooms and the messages."""
    from django.db import connection, transaction

    from accounts.models import Team, TeamHandle, TeamMember, User
    from accounts.names import search_key
    from accounts.services import create_team, create_user
    from rooms import services
    from rooms.models import Privacy, RoomRole
    from rooms.services import rooms as room_services

    room_services.MAX_OWNED_ROOMS = ROOMS  # type: ignore[misc]  # a bound on users, not on rooms
    with transaction.atomic():
        owner = create_user(name="Owner", email=USER, verified=True)
        team: Team = create_team(user=owner, name="Large team")
        people = User.objects.bulk_create(
            User(name=f"Person {n:05}", email=f"p{n}@example.com", handle=f"person-{n}")
            for n in range(PEOPLE)
        )
        TeamMember.objects.bulk_create(
            TeamMember(team=team, user=user, name_key=search_key(user.name)) for user in people
        )
        TeamHandle.objects.bulk_create(
            TeamHandle(team=team, handle=user.handle, holder=user.pk) for user in people
        )
    for number in range(ROOMS):
        privacy = Privacy.TEAM if number % 2 else Privacy.PRIVATE
        room = services.create_room(
            user=owner, team_id=team.pk, name=f"Room {number:03}", privacy=privacy
        )
        members = people[: CROWD if number == 0 else 20]
        services.add_members(room, members, RoomRole.MEMBER)
    with connection.cursor() as cursor:
        cursor.execute(INSERT_MESSAGES, {"count": UNREAD, "author": people[-1].pk})
        cursor.execute(COUNT_MESSAGES, {"count": UNREAD})
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    print("null")


def pages() -> None:
    """Print wall ms, CPU ms, queries and bytes of each page of the user."""
    from django.db import connection
    from django.test import Client

    from accounts.models import User
    from rooms.models import Room

    user, room = User.objects.get(email=USER), Room.objects.order_by("pk")[ROOMS // 2]
    client = Client(headers={"host": "127.0.0.1"})
    client.force_login(user)
    found = {}
    for name, path in {
        "home": f"/?team={room.team_id}",
        "room": f"/rooms/{room.pk}/",
        "people": f"/teams/{room.team_id}/people/",
    }.items():
        answer = client.get(path)
        assert answer.status_code == 200, (name, answer.status_code)
        queries: list[str] = []
        with connection.execute_wrapper(_recorder(queries)):
            client.get(path)
        walls, cpus = _timed(lambda: client.get(path))  # noqa: B023 # called at once
        found[name] = {
            "ms": walls,
            "cpu": cpus,
            "queries": len(queries),
            "bytes": len(answer.content),
        }
    print(json.dumps(found))


def activity() -> None:
    """Print the CPU ms of one batch of `room.activity` by the number of people elsewhere."""
    from django.db import connection

    from rooms.fanout.unread import count_unread
    from rooms.models import Room, RoomMember

    room = Room.objects.order_by("pk")[0]
    members = list(RoomMember.objects.filter(room=room).values_list("user_id", flat=True))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (backend,) = cursor.fetchone()
    found: dict[int, Any] = {}
    for people in (10, 100, 1_000):
        users = set(members[:people])
        assert {each.messages for each in count_unread([room.pk], users)} == {UNREAD}
        before = _backend_seconds(backend)
        _walls, cpus = _timed(lambda: count_unread([room.pk], users))  # noqa: B023 # called at once
        database = (_backend_seconds(backend) - before) / (ROUNDS + 2) * 1000
        found[people] = {"cpu": cpus, "database": database}
    print(json.dumps(found))


def _recorder(queries: list[str]) -> Callable[..., Any]:
    """Return a wrapper that records the statements; Django's own log is empty in production."""

    def record(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        queries.append(sql)
        return execute(sql, *rest)

    return record


def _backend_seconds(pid: int) -> float:
    """Return the CPU seconds of a backend of PostgreSQL, which runs on this machine."""
    fields = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(fields[0]) / 1e9


def _timed(act: Callable[[], object]) -> tuple[list[float], list[float]]:
    """Return the wall and CPU milliseconds of ROUNDS calls, after two calls to warm up."""
    walls, cpus = [], []
    for number in range(ROUNDS + 2):
        wall, cpu = time.perf_counter(), _cpu()
        act()
        if number >= 2:
            walls.append((time.perf_counter() - wall) * 1000)
            cpus.append((_cpu() - cpu) * 1000)
    return walls, cpus


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    import django

    django.setup()
    {"build": build, "pages": pages, "activity": activity}[sys.argv[1]]()
