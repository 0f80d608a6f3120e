"""The line in which runs wait: who goes next, who stands where, and how many may wait.

Teams take turns: next is the team that has the fewest running, then the one that was served longest
ago, then the one that has waited longest. Within a team the oldest run goes first; runs of people
and rooms that have as many running as they may are passed over.
"""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext_lazy as _

from accounts.errors import RateLimited
from accounts.models import User
from rooms.fanout import publisher
from rooms.models import Line, Room, Run, RunState
from rooms.protocol.events import RunPosition, encode

LEASE: Final = timedelta(seconds=8)
TOLD: Final = 20
"""So many at the head of a line hear that it has moved; the others would hear of it too often."""
RETRY_SECONDS: Final = 10

TOO_MANY_WAIT: Final = {
    "user": _("Too many of your questions here wait for an answer. Ask again when some have come."),
    "room": _("Too many questions in this room wait for an answer. Ask again when some have come."),
    "team": _("Too many questions in this team wait for an answer. Ask again when some have come."),
}


def enter(room: Room, user: User, count: int) -> int:
    """Return how many runs of the room's team wait before the next `count`; one query.

    Raises RateLimited where so many of the user, the room or the team may not wait.
    """
    waiting = _waiting(room.team_id).order_by()
    lines = Line.objects.filter(pk=room.team_id).annotate(
        waiting_user=_how_many(waiting.filter(requested_by=user)),
        waiting_room=_how_many(waiting.filter(room=room)),
        waiting_team=_how_many(waiting),
    )
    line = lines.first()
    if line is None:  # nobody of the team has asked before
        Line.objects.get_or_create(team_id=room.team_id)
        line = lines.get()
    for whose, sentence in TOO_MANY_WAIT.items():
        if getattr(line, f"waiting_{whose}") + count > line.bound(f"queued_per_{whose}"):
            raise RateLimited(sentence, retry_after=RETRY_SECONDS)
    return int(line.waiting_team)


def claim(owner: str, *, idle_teams_only: bool = False) -> UUID | None:
    """Take the next run for `owner` and return its id; None if nothing waits that may run.

    With `idle_teams_only`, teams that have anything running are passed over.
    """
    for line in Line.objects.raw(*_lines_in_turn(idle_teams_only=idle_teams_only)):
        run_id = _claim_of(line, owner, idle_teams_only=idle_teams_only)
        if run_id is not None:
            return run_id
    return None


def places(room: Room) -> dict[UUID, int]:
    """Return where the waiting runs of a room stand in the line of their team; 1 is next."""
    line = enumerate(_waiting(room.team_id).values_list("pk", "room_id"), start=1)
    return {run_id: place for place, (run_id, room_id) in line if room_id == room.pk}


def place_of(run: Run) -> int | None:
    """Return where a run stands in line; None if it does not wait."""
    if run.state != RunState.QUEUED:
        return None
    older = Q(queued_at__lt=run.queued_at) | Q(queued_at=run.queued_at, pk__lt=run.pk)
    return _waiting(run.team_id).filter(older).count() + 1


def tell_places(team_id: UUID) -> None:
    """Tell the rooms of a team where their runs stand now that others were claimed.

    Whoever came after the last claim was told their place when they came.
    """
    served_at = Line.objects.filter(pk=team_id).values_list("served_at", flat=True).first()
    if served_at is not None:  # the team may have been purged meanwhile
        _tell(team_id, lambda queued_at: queued_at < served_at)


def tell_who_was_behind(run: Run) -> None:
    """Tell the rooms of a team where their runs stand now that this one waits no more."""
    _tell(run.team_id, lambda queued_at: queued_at >= run.queued_at)


def _tell(team_id: UUID, has_moved: Callable[[datetime], bool]) -> None:
    head = _waiting(team_id).values_list("pk", "room_id", "queued_at")[:TOLD]
    for place, (run_id, room_id, queued_at) in enumerate(head, start=1):
        if has_moved(queued_at):
            event = RunPosition(room=room_id, run=run_id, position=place)
            publisher.publish(publisher.Ephemeral(room=room_id, frame=encode(event)))


def _waiting(team_id: UUID) -> QuerySet[Run]:
    return Run.objects.filter(team=team_id, state=RunState.QUEUED).order_by("queued_at", "pk")


@cache
def _lines_in_turn(*, idle_teams_only: bool) -> tuple[str, tuple[Any, ...]]:
    """Return the statement: to write it takes Django longer than the database to carry it out."""
    of_team = Run.objects.filter(team=OuterRef("pk")).order_by()
    waiting = of_team.filter(state=RunState.QUEUED)
    running = of_team.filter(state=RunState.RUNNING).values("team").annotate(runs=Count("pk"))
    lines = Line.objects.filter(Exists(waiting)).annotate(
        running=Coalesce(Subquery(running.values("runs")), 0),
        oldest=Subquery(waiting.order_by("queued_at").values("queued_at")[:1]),
    )
    if idle_teams_only:
        lines = lines.filter(running=0)
    in_turn = lines.order_by("running", F("served_at").asc(nulls_first=True), "oldest", "pk")
    sql, parameters = in_turn.query.sql_with_params()
    return sql, tuple(parameters)


@transaction.atomic
def _claim_of(line: Line, owner: str, *, idle_teams_only: bool) -> UUID | None:
    """Claim one run of a team. Its line is locked first: no other worker counts meanwhile."""
    _let_the_disk_follow()
    Line.objects.filter(pk=line.pk).update(served_at=Now())
    next_run = _next_of(line, idle_teams_only=idle_teams_only)
    if next_run is None:
        transaction.set_rollback(True)
        return None
    Run.objects.filter(pk=next_run).update(
        state=RunState.RUNNING,
        attempt=F("attempt") + 1,
        lease_owner=owner,
        lease_until=Now() + LEASE,
    )
    return next_run


def _next_of(line: Line, *, idle_teams_only: bool) -> UUID | None:
    running = Run.objects.filter(team=line.pk, state=RunState.RUNNING)
    taken = list(running.values_list("room_id", "requested_by_id"))
    if len(taken) >= (1 if idle_teams_only else line.bound("runs_per_team")):
        return None
    rooms = Counter(room_id for room_id, _ in taken)
    users = Counter(user_id for _, user_id in taken)
    return (
        _waiting(line.pk)
        .exclude(room__in=_full(rooms, line.bound("runs_per_room")))
        .exclude(requested_by__in=_full(users, line.bound("runs_per_user")))
        .select_for_update(skip_locked=True, of=("self",))
        .values_list("pk", flat=True)
        .first()
    )


def _let_the_disk_follow() -> None:
    """A claim that a crash of PostgreSQL takes back is a run that waits again; nobody was told."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = off")


def _how_many(runs: QuerySet[Run]) -> Coalesce:
    counted = runs.values("team").annotate(runs=Count("pk")).values("runs")
    return Coalesce(Subquery(counted), 0)


def _full(running: Counter[UUID], bound: int) -> list[UUID]:
    return [whose for whose, count in running.items() if count >= bound]
