"""Claims: the runs that a worker takes next, fair between teams.

Teams take turns. `claim` serves the team with the fewest running runs first, then the team whose
last claim is oldest, then the team whose oldest run was queued first. A claim of several runs gives
each of them to the team whose turn is next, as if the runs were claimed one by one. Within a team
the oldest run goes first; runs of users and rooms that have reached their limit are passed over.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from math import ceil
from typing import Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import (
    CharField,
    Count,
    DurationField,
    F,
    OuterRef,
    QuerySet,
    Subquery,
    UUIDField,
)
from django.db.models.functions import Coalesce, Now

from accounts.database.prepared_queries import Parameter, PreparedQuery, PreparedUpdate
from rooms.models import Run, RunState, TeamQuota
from rooms.runs import queue

HEAD: Final = 32
"""The number of a team's oldest queued runs that a claim reads first."""
DEPTH: Final = 1_000
"""A claim looks for a run that may start among this many of a team's oldest queued runs.

As many as a team may queue by default. The bound keeps the work of a claim independent of the
length of the queue; a run further back waits until the runs before it have started.
"""
COUNTED: Final = 64
"""Queued runs are counted up to this number; more do not change the share of a worker."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that a worker has claimed, and its attempt, which is the fencing token."""

    run: UUID
    room: UUID
    attempt: int


def claim(
    owner: str, limit: int = 1, *, workers: int = 1, idle_teams_only: bool = False
) -> list[Claim]:
    """Claim the next runs for `owner`: at most `limit`, and its share of what waits.

    The share is one of `workers` equal parts, rounded up, so that other workers, which are notified
    at the same time, start the rest meanwhile. With `idle_teams_only`, teams that have a running
    run are passed over. Returns an empty list if no queued run may start.
    """
    waiting = len(_SOME_QUEUED())
    limit = min(limit, ceil(waiting / workers))
    if limit <= 0:
        return []
    in_turn = [pk for pk, running in _TEAMS_IN_TURN() if not (idle_teams_only and running)]
    for first in range(0, len(in_turn), limit):
        teams = in_turn[first : first + limit]
        claims = _claim_of_teams(teams, owner, limit, idle_teams_only=idle_teams_only)
        if claims:
            return claims
    return []


def _claim_of_teams(
    teams: Sequence[UUID], owner: str, limit: int, *, idle_teams_only: bool
) -> list[Claim]:
    """Claim up to `limit` runs of teams, which are in turn; none if their limits allow none.

    The rows of the quotas are locked first, so that two workers cannot count the running runs of
    one team at the same time. They are locked in the order of their ids, to avoid deadlocks.
    """
    with _claiming():
        quotas = {quota.pk: quota for quota in _LOCK_QUOTAS(teams=teams)}
        waiting = {
            team: _WaitingTeam(quotas[team], max_running=1 if idle_teams_only else None)
            for team in teams
            if team in quotas
        }
        for team, room, user in _RUNNING(teams=teams):
            if team in waiting:
                waiting[team].count(room, user)
        chosen = _choose(list(waiting.values()), limit)
        rows = _LOCK_RUNS(runs=chosen) if chosen else []
        if not rows:
            return []
        found = {run: (team, Claim(run, room, attempt + 1)) for run, team, room, attempt in rows}
        _SET_CLAIMED(runs=list(found), owner=owner, lease=queue.LEASE)
        _SET_SERVED(teams=list({team for team, _claim in found.values()}))
        return [found[run][1] for run in chosen if run in found]


class _WaitingTeam:
    """A team with queued runs, during one claim."""

    def __init__(self, quota: TeamQuota, *, max_running: int | None) -> None:
        limit = quota.limit("runs_per_team")
        self._max_running = limit if max_running is None else min(limit, max_running)
        self._max_of_room = quota.limit("runs_per_room")
        self._max_of_user = quota.limit("runs_per_user")
        self._rooms: Counter[UUID] = Counter()
        self._users: Counter[UUID | None] = Counter()
        self._queued = _oldest_queued(quota.pk)
        self.running = 0

    def count(self, room: UUID, user: UUID | None) -> None:
        """Count a running run."""
        self.running += 1
        self._rooms[room] += 1
        self._users[user] += 1

    def take(self) -> UUID | None:
        """Return the oldest queued run that may start, and count it as running; None without one.

        A run that is passed over may not start later in this claim either: the counts only grow.
        """
        if self.running >= self._max_running:
            return None
        for run, room, user in self._queued:
            is_free = user is None or self._users[user] < self._max_of_user
            if is_free and self._rooms[room] < self._max_of_room:
                self.count(room, user)
                return run
        return None


def _choose(in_turn: Sequence[_WaitingTeam], limit: int) -> list[UUID]:
    """Return up to `limit` runs in the order in which the teams take turns."""
    turns = [(team.running, turn, team) for turn, team in enumerate(in_turn)]
    heapify(turns)
    chosen: list[UUID] = []
    while turns and len(chosen) < limit:
        _running, _turn, team = heappop(turns)
        run = team.take()
        if run is not None:
            chosen.append(run)
            heappush(turns, (team.running, len(in_turn) + len(chosen), team))
    return chosen


def _oldest_queued(team: UUID) -> Iterator[tuple[UUID, UUID, UUID | None]]:
    """Yield the id, the room and the asker of a team's queued runs, oldest first, up to DEPTH."""
    head = _HEAD(team=team)
    yield from head
    if len(head) == HEAD:
        yield from _DEEP_HEAD(team=team)[HEAD:]


@contextmanager
def _claiming() -> Iterator[None]:
    """A transaction whose commit does not wait for the disk.

    A claim that is lost in a crash of PostgreSQL or of the machine is a queued run again. Its
    worker has published nothing yet: the start commits synchronously before the first delta.
    """
    if connection.vendor == "postgresql":
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = off")
            yield
        return
    is_outermost = not connection.in_atomic_block  # SQLite refuses the pragma in a transaction
    with connection.cursor() as cursor:
        if is_outermost:
            cursor.execute("PRAGMA synchronous = NORMAL")
        try:
            with transaction.atomic():
                yield
        finally:
            if is_outermost:
                cursor.execute("PRAGMA synchronous = FULL")


def _teams_in_turn() -> QuerySet[TeamQuota, tuple[UUID, int]]:
    """Return the teams with queued runs and the numbers of their running runs, next team first.

    `oldest` and not Exists selects the teams: PostgreSQL may execute Exists as a join, which reads
    all queued runs.
    """
    of_team = Run.objects.filter(team=OuterRef("pk")).order_by()
    queued = of_team.filter(state=RunState.QUEUED).order_by("queued_at")
    running = of_team.filter(state=RunState.RUNNING).values("team").annotate(runs=Count("pk"))
    quotas = TeamQuota.objects.annotate(
        running=Coalesce(Subquery(running.values("runs")), 0),
        oldest=Subquery(queued.values("queued_at")[:1]),
    ).filter(oldest__isnull=False)
    in_turn = quotas.order_by("running", F("served_at").asc(nulls_first=True), "oldest", "pk")
    return in_turn.values_list("pk", "running")


def _head(team: Parameter, length: int) -> QuerySet[Run, tuple[UUID, UUID, UUID | None]]:
    queued = Run.objects.filter(team=team, state=RunState.QUEUED).order_by("queued_at", "pk")
    return queued.values_list("pk", "room_id", "requested_by_id")[:length]


_IDS: Final = [UUIDField()]
_SOME_QUEUED: Final = PreparedQuery(
    lambda: Run.objects.filter(state=RunState.QUEUED).values_list("pk", flat=True)[:COUNTED]
)
_TEAMS_IN_TURN: Final = PreparedQuery(_teams_in_turn)
_LOCK_QUOTAS: Final = PreparedQuery(
    lambda teams: TeamQuota.objects.filter(team__pk__in=teams).order_by("pk").select_for_update(),
    teams=_IDS,
)
_RUNNING: Final = PreparedQuery(
    lambda teams: Run.objects.filter(team__pk__in=teams, state=RunState.RUNNING).values_list(
        "team_id", "room_id", "requested_by_id"
    ),
    teams=_IDS,
)
_HEAD: Final = PreparedQuery(lambda team: _head(team, HEAD), team=UUIDField())
_DEEP_HEAD: Final = PreparedQuery(lambda team: _head(team, DEPTH), team=UUIDField())
_LOCK_RUNS: Final = PreparedQuery(
    lambda runs: (
        Run.objects.filter(pk__in=runs, state=RunState.QUEUED)
        .select_for_update(skip_locked=True, of=("self",))
        .values_list("pk", "team_id", "room_id", "attempt")
    ),
    runs=_IDS,
)
_SET_CLAIMED: Final = PreparedUpdate(
    lambda runs, owner, lease: (
        Run.objects.filter(pk__in=runs),
        {
            "state": RunState.RUNNING,
            "attempt": F("attempt") + 1,
            "lease_owner": owner,
            "lease_until": Now() + lease,
        },
    ),
    runs=_IDS,
    owner=CharField(),
    lease=DurationField(),
)
_SET_SERVED: Final = PreparedUpdate(
    lambda teams: (TeamQuota.objects.filter(team__pk__in=teams), {"served_at": Now()}), teams=_IDS
)
