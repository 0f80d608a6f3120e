"""The plans of the queries that users wait for: `python -m tests.cluster.stores.query_plans ROWS`.

Fills the database with ROWS messages and events, runs the code of each request in a transaction
that is rolled back, and prints as JSON, for each request and statement, the plan as PostgreSQL has
executed it; and for each request and table, the number of updates and of HOT updates among them.
With `--without INDEX …` the requests are also run without each of these indexes.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID, uuid4

import django
import psycopg

django.setup()

from django.conf import settings  # noqa: E402  # all of these need django.setup()
from django.db import connection, transaction  # noqa: E402
from django.utils import timezone  # noqa: E402

from accounts.database.prepared_cursor import PreparedCursor  # noqa: E402
from accounts.models import AuditEntry, Team, User  # noqa: E402
from accounts.services import create_team, create_user  # noqa: E402
from agents.models import Persona  # noqa: E402
from agents.services import create_demo_persona  # noqa: E402
from rooms import queries, services  # noqa: E402
from rooms.fanout.unread import count_unread  # noqa: E402
from rooms.models import Message, Room, Run  # noqa: E402
from rooms.pages.sidebar import shell_context  # noqa: E402
from rooms.runs import leases, lifecycle, queue  # noqa: E402
from rooms.services import rooms as room_services  # noqa: E402
from rooms.socket import snapshots  # noqa: E402
from rooms.socket.joins import Join, authorize_many  # noqa: E402
from tests.cluster.harness import acting_history, long_history  # noqa: E402
from tests.cluster.stores import acting_requests  # noqa: E402
from tests.cluster.stores.acting_requests import ActingRequests  # noqa: E402
from tests.rooms.claiming import claim_and_start, conversation_of  # noqa: E402

OWNER = "worker"
REPLIES = 1_100
UPDATES = """
    SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE n_tup_upd > 0
"""
EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON, TIMING OFF) "


class Requests:
    """What users and workers ask of the database, each as a method without arguments."""

    def __init__(self, user: User, room: Room, run: Run, persona: Persona) -> None:
        self._user, self._room, self._run = user, room, run
        self._team, self._persona = Team.objects.get(pk=room.team_id), persona
        self._middle = room.last_seq // 2
        messages = Message.objects.filter(room=room)
        self._old = messages.filter(seq__gt=self._middle).order_by("seq")[0]
        self._small = Room.objects.exclude(pk=room.pk).order_by("pk")[0]
        self._root = messages.filter(reply_count__gt=0).order_by("seq")[0]

    def join_with_state(self) -> None:
        self._join(self._room)

    def join_of_a_small_room(self) -> None:
        self._join(self._small)

    def _join(self, room: Room) -> None:
        authorize_many([Join(self._user, room.pk, is_counted=True)])
        snapshots.read_state(room.pk)

    def resume(self) -> None:
        snapshots.read_log(self._room.pk, self._room.last_seq - 100)

    def page_of_old_messages(self) -> None:
        queries.newest_messages(self._room, before=self._middle)

    def messages_after(self) -> None:
        list(self._room.messages.filter(seq__gt=self._middle).order_by("seq")[:50])

    def page_of_newest_messages(self) -> None:
        queries.newest_messages(self._room)

    def page_of_a_thread(self) -> None:
        queries.thread_page(self._root)

    def open_threads(self) -> None:
        queries.thread_messages(self._room.pk, [self._root.pk, self._old.pk], self._middle)

    def unread(self) -> None:
        count_unread([self._room.pk, self._small.pk], [self._user.pk])

    def sidebar(self) -> None:
        shell_context(self._user, self._team)

    def runs_of_today(self) -> None:
        from rooms.pages.panel import _today

        _today(self._room)

    def post(self) -> None:
        services.post_message(
            user=self._user,
            room_id=self._room.pk,
            text="hi",
            client_id=uuid4(),
            reply_to=self._old.pk,
            also_in_room=True,  # so it also moves the author's read position
        )

    def delete(self) -> None:
        services.delete_message(user=self._user, message_id=self._old.pk)

    def claim_and_start(self) -> None:
        assert claim_and_start(OWNER) is not None

    def heartbeat(self) -> None:
        leases.renew(OWNER, [self._run.pk])

    def reap(self) -> None:
        leases.reap()

    def release(self) -> None:
        leases.release(OWNER)

    def turns_of_the_model(self) -> None:
        conversation_of(self._run)

    def positions(self) -> None:
        queue.positions(self._room)

    def search_of_the_audit_log(self) -> None:
        entries = AuditEntry.objects.filter(team=self._team)
        list(entries.matching(action="member.").order_by("-number")[:50])
        list(entries.matching(actor=self._user.pk).order_by("-number")[:50])

    def purge(self) -> None:
        room_services.empty_room(self._small.pk)


def main() -> None:
    """Fill the database, run all requests and print their plans."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int)
    parser.add_argument("--rooms", type=int, default=2_000)
    parser.add_argument("--without", nargs="*", default=[])
    arguments = parser.parse_args()
    requests = _prepare(arguments.rows, arguments.rooms)
    report = {"": _run(requests), **{i: _run(requests, without=i) for i in arguments.without}}
    json.dump(report, sys.stdout)


def _prepare(rows: int, rooms: int) -> tuple[Requests, ActingRequests]:
    """Complete one run, copy it and one that waits, and leave one run running and one queued."""
    user = create_user(name="Owner", email="owner@example.com", verified=True)
    team = create_team(user=user, name="Team")
    persona = create_demo_persona(user=user, team_id=team.pk)
    room = services.create_room(user=user, team_id=team.pk, name="room", personas=[persona.pk])

    def ask() -> UUID:
        return services.post_message(user=user, room_id=room.pk, text="What is a maru?").runs[0]

    def start() -> Any:
        _run, job = claim_and_start(OWNER) or (None, None)
        return job

    ask()
    lifecycle.complete(start(), "An open wooden floor.", None)
    waits = acting_requests.prepare(user, room, persona)
    person, quiet = acting_requests.quiet_room(user, team, persona)
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as filling:
        long_history.fill(filling, rows, rooms)
        acting_history.fill(filling, str(acting_requests.SEARCH), rows, rooms)
        _make_thread(room)
        filling.execute("VACUUM ANALYZE rooms_message")
    acting_requests.wait_for_people(user, quiet, of=person)
    running = ask()
    job = start()
    ask()
    room.refresh_from_db()
    return (
        Requests(user, room, Run.objects.get(pk=running), persona),
        ActingRequests(user, room, job, waits, person),
    )


def _make_thread(room: Room) -> None:
    """Make the newest messages of a room a thread, so that the room shows only older ones."""
    newest = Message.objects.filter(room=room).order_by("-seq").values_list("pk", "seq")
    *replies, (root, _seq) = newest[: REPLIES + 1]
    inside = Message.objects.filter(pk__in=[pk for pk, _seq in replies])
    inside.update(thread_root=root, in_room=False)
    summary = {"reply_count": REPLIES, "last_reply_seq": replies[0][1]}
    Message.objects.filter(pk=root).update(**summary, last_reply_at=timezone.now())


def _run(requests: Sequence[object], without: str = "") -> dict[str, Any]:
    """Return the plans and the updates of all requests by name."""
    return {
        name: _explain(getattr(group, name), without)
        for group in requests
        for name in vars(type(group))
        if not name.startswith("_")
    }


def _explain(request: Callable[[], None], without: str) -> dict[str, Any]:
    """Return the plans of all statements of a request, and the updates by table."""
    with transaction.atomic():
        if without:
            _drop(without)
        plans: list[dict[str, Any]] = []
        before = _updates()
        with connection.execute_wrapper(_explaining(plans)):
            began = time.perf_counter()
            request()
            took = (time.perf_counter() - began) * 1000
        updates = {
            table: [
                now - earlier for now, earlier in zip(count, before.get(table, (0, 0)), strict=True)
            ]
            for table, count in _updates().items()
        }
        transaction.set_rollback(True)
    slowest = max((plan["Execution Time"] for plan in plans), default=0)
    line = f"{without:22}{request.__name__:26}{took:9.1f} ms, slowest statement {slowest:.1f} ms"
    print(line, file=sys.stderr, flush=True)
    return {"plans": plans, "updates": updates}


def _updates() -> dict[str, tuple[int, int]]:
    """Return the updates and the HOT updates of this session that are not yet in its statistics."""
    with connection.cursor() as cursor:
        cursor.execute(UPDATES)
        return {table: (updated, hot) for table, updated, hot in cursor.fetchall()}


def _drop(index: str) -> None:
    """Drop an index, or the constraint that it belongs to, until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT conrelid::regclass FROM pg_constraint WHERE conname = %s", [index])
        if table := cursor.fetchone():
            cursor.execute(f"ALTER TABLE {table[0]} DROP CONSTRAINT {index}")
        else:
            cursor.execute(f"DROP INDEX {index}")


def _explaining(plans: list[dict[str, Any]]) -> Callable[..., Any]:
    """Return a wrapper that executes each statement once more to explain it, then undoes that."""

    def execute(run: Any, sql: Any, params: Any, *others: Any) -> Any:
        if str(sql).startswith(("SELECT", "UPDATE", "DELETE", "INSERT", "WITH")):
            _many, context = others
            is_prepared = isinstance(context["cursor"].cursor, PreparedCursor)
            # A cursor of psycopg: the wrappers of Django are not called again.
            with connection.connection.cursor() as cursor:
                cursor.execute("SAVEPOINT explaining")
                explained = _explain_prepared if is_prepared else _explain_once
                found = explained(cursor, str(sql), params)
                cursor.execute("ROLLBACK TO SAVEPOINT explaining")
            (plan,) = json.loads(found) if isinstance(found, str) else found
            plans.append({"sql": str(sql), **plan})
        return run(sql, params, *others)

    return execute


def _explain_once(cursor: Any, sql: str, params: Any) -> Any:
    return cursor.execute(f"{EXPLAIN}{sql}", params).fetchone()[0]


def _explain_prepared(cursor: Any, sql: str, params: Sequence[Any]) -> Any:
    """Explain the plan for all values of the parameters, which PostgreSQL may keep."""
    numbers = [f"${number}" for number, _param in enumerate(params, start=1)]
    cursor.execute(f"PREPARE explained AS {sql % tuple(numbers)}")
    cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    values = f"({', '.join(['%s'] * len(params))})" if params else ""
    found = cursor.execute(f"{EXPLAIN}EXECUTE explained{values}", params).fetchone()[0]
    cursor.execute("DEALLOCATE explained")
    return found


if __name__ == "__main__":
    main()
