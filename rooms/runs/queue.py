"""The run queue of a team: its quota, its fair scheduling, and the positions of its runs.

Teams take turns. `claim` serves the team with the fewest running runs first, then the team whose
last claim is oldest, then the team whose oldest run was queued first. Within a team the oldest run
goes first; runs of users and rooms that have reached their limit are passed over.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Count, Exists, F, Max, Min, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext_lazy as _

from accounts.errors import RateLimited
from accounts.models import User
from rooms.fanout import publisher
from rooms.models import Room, Run, RunState, TeamQuota
from rooms.protocol.events import RunPosition, encode

LEASE: Final = timedelta(seconds=8)
"""How long a run belongs to a worker without a heartbeat. It outlasts several heartbeats
(`runner.HEARTBEAT_SECONDS`), and PostgreSQL ends a frozen transaction before the lease expires
(`maru.config.postgres.STALLED_MILLISECONDS`)."""
PUBLISHED_POSITIONS: Final = 20
"""`run.position` is published for this many runs of a team; runs further back move too often."""
RETRY_SECONDS: Final = 10

QUOTA_EXCEEDED: Final = {
    "user": _("You have too many unanswered questions. Wait for some answers, then ask again."),
    "room": _(
        "This room has too many unanswered questions. Wait for some answers, then ask again."
    ),
    "team": _(
        "This team has too many unanswered questions. Wait for some answers, then ask again."
    ),
}


def check_quota(room: Room, user: User, count: int) -> tuple[int, datetime]:
    """Return the number of queued runs of the team, without the `count` new ones, and the time.

    The time is the clock of the database, which orders the runs of all processes; one query.
    Raises RateLimited if `count` more would exceed the limit of the user, the room or the team.
    """
    queued = _queued(room.team_id).order_by()
    quotas = TeamQuota.objects.filter(pk=room.team_id).annotate(
        queued_user=_count(queued.filter(requested_by=user)),
        queued_room=_count(queued.filter(room=room)),
        queued_team=_count(queued),
        now=Now(),
    )
    quota = quotas.first()
    if quota is None:  # the first run of this team
        TeamQuota.objects.get_or_create(team_id=room.team_id)
        quota = quotas.get()
    for scope, sentence in QUOTA_EXCEEDED.items():
        if getattr(quota, f"queued_{scope}") + count > quota.limit(f"queued_per_{scope}"):
            raise RateLimited(sentence, retry_after=RETRY_SECONDS)
    return quota.queued_team, quota.now


def claim(owner: str, *, idle_teams_only: bool = False) -> UUID | None:
    """Claim the next run for `owner` and return its id; None if no queued run may start.

    With `idle_teams_only`, teams that have a running run are passed over.
    """
    for quota in TeamQuota.objects.raw(*_teams_in_turn(idle_teams_only=idle_teams_only)):
        run_id = _claim_of_team(quota, owner, idle_teams_only=idle_teams_only)
        if run_id is not None:
            return run_id
    return None


def backlog() -> tuple[int, float]:
    """Return the number of queued runs of all teams, and the age of the oldest in seconds."""
    queued = Run.objects.filter(state=RunState.QUEUED)
    found = queued.aggregate(Count("pk"), Min("queued_at"), now=Max(Now()))
    if not found["pk__count"]:
        return 0, 0.0
    age = found["now"] - found["queued_at__min"]
    return found["pk__count"], max(0.0, age.total_seconds())


def positions(room: Room) -> dict[UUID, int]:
    """Return the positions of a room's queued runs in the queue of their team; 1 is next."""
    queue = enumerate(_queued(room.team_id).values_list("pk", "room_id"), start=1)
    return {run_id: position for position, (run_id, room_id) in queue if room_id == room.pk}


def position_of(run: Run) -> int | None:
    """Return the position of a run in the queue of its team; None if it is not queued."""
    if run.state != RunState.QUEUED:
        return None
    older = Q(queued_at__lt=run.queued_at) | Q(queued_at=run.queued_at, pk__lt=run.pk)
    return _queued(run.team_id).filter(older).count() + 1


def publish_positions(team_id: UUID) -> None:
    """Publish the positions that have changed since the last claim of a team.

    Runs queued after that claim are left out: their `run.queued` has their position.
    """
    served_at = TeamQuota.objects.filter(pk=team_id).values_list("served_at", flat=True).first()
    if served_at is not None:  # None if the team was purged since
        _publish_positions(team_id, lambda queued_at: queued_at < served_at)


def publish_positions_behind(run: Run) -> None:
    """Publish the positions of the runs that were queued behind `run`, which has left the queue."""
    _publish_positions(run.team_id, lambda queued_at: queued_at >= run.queued_at)


def _publish_positions(team_id: UUID, has_moved: Callable[[datetime], bool]) -> None:
    head = _queued(team_id).values_list("pk", "room_id", "queued_at")[:PUBLISHED_POSITIONS]
    for position, (run_id, room_id, queued_at) in enumerate(head, start=1):
        if has_moved(queued_at):
            event = RunPosition(room=room_id, run=run_id, position=position)
            publisher.publish(publisher.Ephemeral(room=room_id, frame=encode(event)))


def _queued(team_id: UUID) -> QuerySet[Run]:
    return Run.objects.filter(team=team_id, state=RunState.QUEUED).order_by("queued_at", "pk")


@cache
def _teams_in_turn(*, idle_teams_only: bool) -> tuple[str, tuple[Any, ...]]:
    """Return the SQL and the parameters that select the teams with queued runs, next team first.

    Cached: Django takes longer to compile this query than the database to execute it.
    """
    of_team = Run.objects.filter(team=OuterRef("pk")).order_by()
    queued = of_team.filter(state=RunState.QUEUED)
    running = of_team.filter(state=RunState.RUNNING).values("team").annotate(runs=Count("pk"))
    quotas = TeamQuota.objects.filter(Exists(queued)).annotate(
        running=Coalesce(Subquery(running.values("runs")), 0),
        oldest=Subquery(queued.order_by("queued_at").values("queued_at")[:1]),
    )
    if idle_teams_only:
        quotas = quotas.filter(running=0)
    in_turn = quotas.order_by("running", F("served_at").asc(nulls_first=True), "oldest", "pk")
    sql, parameters = in_turn.query.sql_with_params()
    return sql, tuple(parameters)


@transaction.atomic
def _claim_of_team(quota: TeamQuota, owner: str, *, idle_teams_only: bool) -> UUID | None:
    """Claim the next run of a team; None if its limits allow none.

    The update of the quota locks its row first, so that two workers cannot count the running runs
    of one team at the same time.
    """
    if connection.vendor == "postgresql":
        # A claim that is lost in a crash of PostgreSQL is a queued run again. Its worker has
        # published nothing yet: `start` commits synchronously before the first delta.
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = off")
    TeamQuota.objects.filter(pk=quota.pk).update(served_at=Now())
    run_id = _next_run(quota, idle_teams_only=idle_teams_only)
    if run_id is None:
        transaction.set_rollback(True)
        return None
    Run.objects.filter(pk=run_id).update(
        state=RunState.RUNNING,
        attempt=F("attempt") + 1,
        lease_owner=owner,
        lease_until=Now() + LEASE,
    )
    return run_id


def _next_run(quota: TeamQuota, *, idle_teams_only: bool) -> UUID | None:
    """Return the oldest queued run of a team that its limits allow to start, and lock it."""
    running = Run.objects.filter(team=quota.pk, state=RunState.RUNNING)
    rooms_and_users = list(running.values_list("room_id", "requested_by_id"))
    if len(rooms_and_users) >= (1 if idle_teams_only else quota.limit("runs_per_team")):
        return None
    rooms = Counter(room_id for room_id, _ in rooms_and_users)
    users = Counter(user_id for _, user_id in rooms_and_users)
    return (
        _queued(quota.pk)
        .exclude(room__in=_at_limit(rooms, quota.limit("runs_per_room")))
        .exclude(requested_by__in=_at_limit(users, quota.limit("runs_per_user")))
        .select_for_update(skip_locked=True, of=("self",))
        .values_list("pk", flat=True)
        .first()
    )


def _count(runs: QuerySet[Run]) -> Coalesce:
    counted = runs.values("team").annotate(runs=Count("pk")).values("runs")
    return Coalesce(Subquery(counted), 0)


def _at_limit(running: Counter[UUID], limit: int) -> list[UUID]:
    return [key for key, count in running.items() if count >= limit]
