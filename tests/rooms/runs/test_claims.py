"""Claims of several runs at once: fair between teams, within the limits, and bounded."""

from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from rooms.models import Run, RunState
from rooms.runs import claims, lifecycle
from rooms.runs.claims import claim
from rooms.services import archive_room, cancel_run
from tests.rooms.runs.test_queue import Team, make_team

pytestmark = pytest.mark.django_db


@pytest.fixture
def noisy() -> Team:
    return make_team("noisy")


@pytest.fixture
def quiet() -> Team:
    return make_team("quiet")


def runs_of(claimed: list[claims.Claim]) -> list[UUID]:
    return [each.run for each in claimed]


def test_claim_of_several_runs_takes_the_turns_of_single_claims(noisy: Team, quiet: Team) -> None:
    many, few = noisy.ask(10), quiet.ask(2)

    claimed = claim("worker", 6)

    assert runs_of(claimed) == [many[0], few[0], many[1], few[1], many[2], many[3]]
    assert [each.attempt for each in claimed] == [1] * 6
    assert Run.objects.filter(state=RunState.RUNNING, lease_owner="worker").count() == 6


@pytest.mark.parametrize(("workers", "share"), [(1, 5), (2, 3), (3, 2), (9, 1)])
def test_claim_takes_no_more_than_the_share_of_its_worker(
    noisy: Team, workers: int, share: int
) -> None:
    noisy.ask(5)

    assert len(claim("worker", 8, workers=workers)) == share


def test_all_runs_are_claimed_although_other_workers_have_died(noisy: Team) -> None:
    noisy.ask(5)

    claimed = [len(claim("worker", 8, workers=4)) for _ in range(5)]

    assert claimed == [2, 1, 1, 1, 0]


@pytest.mark.parametrize("limit", ["runs_per_user", "runs_per_room", "runs_per_team"])
@pytest.mark.usefixtures("limited")
def test_claim_of_several_runs_keeps_the_limits(noisy: Team, quiet: Team, limit: str) -> None:
    noisy.set_limits(**{limit: 2})
    noisy.ask(5)
    quiet.ask(1)

    assert len(claim("worker", 8)) == 3
    assert claim("worker", 8) == []


@pytest.fixture
def limited(settings: object) -> None:
    """Enable the limits, which the settings of the tests disable."""
    settings.RATE_LIMITS = True  # type: ignore[attr-defined]  # pytest-django's settings


@pytest.mark.usefixtures("limited")
def test_runs_behind_those_of_a_user_at_the_limit_are_claimed(noisy: Team) -> None:
    noisy.set_limits(runs_per_user=1, queued_per_user=1_000)
    noisy.ask(claims.HEAD + 5, user=0)
    behind = noisy.ask(1, user=1)

    assert runs_of(claim("worker", 8))[1:] == behind


LONG = 20_000
"""Queued runs of one team, of a user whose limit allows no more running runs."""


@pytest.mark.usefixtures("limited")
def test_claim_reads_a_bounded_part_of_a_long_queue(noisy: Team, quiet: Team) -> None:
    noisy.set_limits(runs_per_user=1)
    (first,) = noisy.ask()
    assert runs_of(claim("worker")) == [first]
    _queue_copies(first)
    (one,) = quiet.ask()

    with CaptureQueriesContext(connection) as captured:
        claimed = claim("worker", 8)

    assert runs_of(claimed) == [one]
    reads = [query["sql"] for query in captured if query["sql"].startswith("SELECT")]
    read = {sql: _runs_read(sql) for sql in reads}
    assert sum(read.values()) <= 2 * claims.DEPTH, read


def _queue_copies(run_id: UUID) -> None:
    """Queue LONG copies of a run, by SQL of the database."""
    columns = {str(field.column) for field in Run._meta.concrete_fields} - {"id", "state"}
    new_id, numbers = ("gen_random_uuid()", f"generate_series(1, {LONG})")
    if connection.vendor == "sqlite":
        new_id = "lower(hex(randomblob(16)))"
        numbers = (
            "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
            f"WHERE i < {LONG}) SELECT i FROM n)"
        )
    names = ", ".join(sorted(columns))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO rooms_run (id, state, {names}) SELECT {new_id}, 'queued', {names} "
            f"FROM rooms_run, {numbers} AS numbers WHERE id = %s",
            [Run._meta.pk.get_db_prep_value(run_id, connection)],
        )
        if connection.vendor == "postgresql":  # autovacuum does this there
            cursor.execute("ANALYZE rooms_run")


def _runs_read(sql: str) -> int:
    """Return the number of rows of runs that a query reads; LONG if SQLite scans the table."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            steps = [str(row[3]) for row in cursor.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()]
            limited = "LIMIT" in sql or "IN (" in sql or "'running'" in sql
            scans = [step for step in steps if step.startswith("SCAN") and "rooms_run" in step]
            return 0 if limited and not scans else LONG
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        (plan,) = cursor.fetchone()
    return _rows_of(plan[0]["Plan"])


def _rows_of(node: dict[str, Any]) -> int:
    """Return the rows that a node of a plan and the nodes below it read from the runs."""
    rows = sum(_rows_of(child) for child in node.get("Plans", []))
    if node.get("Relation Name") == "rooms_run":
        removed = node.get("Rows Removed by Filter", 0)
        rows += int((node["Actual Rows"] + removed) * node["Actual Loops"])
    return rows


def test_claim_reads_little_more_for_several_runs_than_for_one(noisy: Team) -> None:
    noisy.ask(9)

    with CaptureQueriesContext(connection) as of_one:
        claim("worker", 1)
    with CaptureQueriesContext(connection) as of_eight:
        claim("worker", 8)

    assert len(of_eight) == len(of_one)


def test_runs_of_one_room_start_with_one_batch_of_queries(noisy: Team) -> None:
    """The rights of all runs are read at once, and the room is locked once."""
    noisy.ask(9)
    (first, *more) = claim("worker", 9)

    with CaptureQueriesContext(connection) as of_one:
        (job,) = lifecycle.start("worker", [first])
    with CaptureQueriesContext(connection) as of_eight:
        jobs = lifecycle.start("worker", more)

    assert [each.run for each in jobs] == runs_of(more)
    assert [each.base for each in jobs] == [job.base + 2 * number for number in range(1, 9)]
    # The update of the run, and the messages before it: each run has its own.
    assert len(of_eight) == len(of_one) + 2 * 7


def test_start_leaves_out_runs_that_the_worker_has_lost(noisy: Team) -> None:
    noisy.ask(3)
    claimed = claim("worker", 3)
    cancel_run(user=noisy.users[0], run_id=claimed[1].run)

    jobs = lifecycle.start("worker", claimed)

    assert [job.run for job in jobs] == [claimed[0].run, claimed[2].run]
    assert lifecycle.start("other worker", claimed) == []


def test_start_under_an_older_attempt_starts_nothing(noisy: Team) -> None:
    noisy.ask(1)
    (old,) = claim("worker")
    Run.objects.filter(pk=old.run).update(state=RunState.QUEUED)
    (new,) = claim("worker")

    assert lifecycle.start("worker", [old]) == []
    assert [job.attempt for job in lifecycle.start("worker", [new])] == [2]


def test_provider_is_asked_only_for_runs_that_start(noisy: Team) -> None:
    noisy.ask(2)
    claimed = claim("worker", 2)
    cancel_run(user=noisy.users[0], run_id=claimed[0].run)
    asked: list[lifecycle.Job] = []

    jobs = lifecycle.start("worker", claimed, asked.append)

    assert asked == jobs
    archive_room(user=noisy.users[0], room_id=noisy.rooms[0].pk)
    assert lifecycle.start("worker", claimed, asked.append) == []
    assert len(asked) == 1
