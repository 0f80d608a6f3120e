"""The run queue of a team: its quota, new runs, and the positions of its runs."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db.models import Count, IntegerField, Max, Min, Q, QuerySet, Subquery, UUIDField
from django.db.models.functions import Coalesce, Now
from django.utils import translation
from django.utils.translation import gettext_lazy as _

from accounts.database.prepared_queries import Parameter, PreparedQuery, insert
from accounts.errors import RateLimited
from accounts.models import User
from agents.models import Persona
from rooms import replies
from rooms.fanout import publisher
from rooms.models import AnswersIn, Message, Room, RoomMode, Run, RunState, TeamQuota, Why
from rooms.protocol.events import RunPosition, RunQueued, encode
from rooms.protocol.serializers import run_body
from rooms.runs.notifications import notify_queued

LEASE: Final = timedelta(seconds=8)
"""How long a run belongs to a worker without a heartbeat. It outlasts several heartbeats
(`runner.HEARTBEAT_SECONDS`), and PostgreSQL ends a frozen transaction before the lease expires
(`maru.config.postgres.STALLED_MILLISECONDS`)."""
MAX_ACTIVE: Final = 200
"""The maximum number of active runs in the state of a room."""
MAX_POSITION: Final = 1_000
"""Runs further back in the queue of their team have no position: it would take a read of all runs.

As many as a team may queue by default.
"""
PUBLISHED_POSITIONS: Final = 20
"""`run.position` is published for this many runs of a team; runs further back move too often."""
MAX_COUNTED: Final = 10_000
"""Waiting runs are counted up to this number, so that a scrape of the metrics stays cheap."""
RETRY_SECONDS: Final = 10
MICROSECOND: Final = timedelta(microseconds=1)

QUOTA_EXCEEDED: Final = {
    "user": _("You have too many unanswered questions. Wait for some answers, then ask again."),
    "room": _(
        "This room has too many unanswered questions. Wait for some answers, then ask again."
    ),
    "team": _(
        "This team has too many unanswered questions. Wait for some answers, then ask again."
    ),
}


def queue_runs(
    room: Room,
    message: Message,
    asked: Sequence[tuple[Persona, Why]],
    user: User,
    *,
    origin: UUID | None = None,
    retried: Run | None = None,
    replaces: UUID | None = None,
    round_id: UUID | None = None,
    parent_call: UUID | None = None,
    leads: bool = False,
    is_admitted: bool = False,
) -> tuple[list[Run], list[RunQueued]]:
    """Queue one run of each persona on a message, in the transaction that has locked the room.

    Each persona comes with the reason why it is asked; `origin` and the options that are named as a
    field of `Run` are as there. In a room of the mode `led`, the lead leads. The answer of a run
    that was `retried` has the place of its answer; one that another run has asked for is in a
    thread of the message. Returns the runs, and the events, which the caller records together with
    its own. Raises RateLimited if too many runs are queued already, unless these are admitted.
    """
    if not asked:
        return [], []
    queued_before, now = check_quota(room, user, 0 if is_admitted else len(asked))
    language = translation.get_language() or "en"
    in_thread = room.answers_in == AnswersIn.THREAD or parent_call is not None
    is_of_person = origin is None and round_id is None and parent_call is None
    thread = message.thread_root_id or (message.pk if in_thread else None)
    if retried is not None:  # the room may have changed `answers_in` since
        thread = retried.thread and replies.get_root(retried.thread).pk
    runs = [
        Run(
            room=room,
            team_id=room.team_id,
            message=message,
            persona=persona,
            requested_by=user,
            why=why,
            origin_id=origin,
            replaces=replaces,
            round_id=round_id,
            parent_call_id=parent_call,
            leads=leads or (is_of_person and _is_lead(room, persona, why)),
            thread=thread,
            language=language,
            queued_at=now + number * MICROSECOND,  # distinct: it orders the queue
        )
        for number, (persona, why) in enumerate(asked)
    ]
    insert(*runs)
    notify_queued()
    return runs, [
        RunQueued(run_body(run, shown_position(position)))
        for position, run in enumerate(runs, queued_before + 1)
    ]


def _is_lead(room: Room, persona: Persona, why: Why) -> bool:
    """Return True if a persona leads when a person asks it in a room of the mode `led`.

    Without a lead, the persona leads that answers by the policy of the room.
    """
    if room.mode != RoomMode.LED:
        return False
    return persona.pk == room.lead_id or (room.lead_id is None and why == Why.POLICY)


def check_quota(room: Room, user: User, count: int) -> tuple[int, datetime]:
    """Return the number of queued runs of the team, without the `count` new ones, and the time.

    The time is the clock of the database, which orders the runs of all processes; one query.
    Raises RateLimited if `count` more would exceed the limit of the user, the room or the team, for
    queued and waiting runs together. The limits bound the cost of the query; without limits, it
    counts up to MAX_POSITION runs. For no new runs, nothing is raised.
    """
    if settings.RATE_LIMITS:
        read = partial(_QUOTA, team=room.team_id, room=room.pk, user=user.pk)
    else:
        read = partial(_QUEUE_LENGTH, team=room.team_id)
    quotas = read()
    if not quotas:  # the first run of this team
        TeamQuota.objects.get_or_create(team_id=room.team_id)
        quotas = read()
    quota: Any = quotas[0]  # Any: it has the annotations of `_quota`
    if settings.RATE_LIMITS and count:
        for scope, sentence in QUOTA_EXCEEDED.items():
            unanswered = getattr(quota, f"queued_{scope}") + getattr(quota, f"waiting_{scope}")
            if unanswered + count > quota.limit(f"queued_per_{scope}"):
                raise RateLimited(sentence, retry_after=RETRY_SECONDS)
    return quota.queued_team, quota.now


def backlog() -> tuple[int, float]:
    """Return the number of queued runs of all teams, and the age of the oldest in seconds."""
    queued = Run.objects.filter(state=RunState.QUEUED)
    found = queued.aggregate(Count("pk"), Min("queued_at"), now=Max(Now()))
    if not found["pk__count"]:
        return 0, 0.0
    age = found["now"] - found["queued_at__min"]
    return found["pk__count"], max(0.0, age.total_seconds())


def count_waiting() -> int:
    """Return the number of runs that wait for people or for other runs; at most MAX_COUNTED."""
    # A column of the index `run_waits`: no row is read.
    return Run.objects.filter(state=RunState.WAITING).values("team")[:MAX_COUNTED].count()


def first_active(room: Room) -> tuple[list[Run], bool]:
    """Return the active runs of a room, oldest first, and True.

    If there are more than MAX_ACTIVE, return the running ones, then the waiting ones, then the
    oldest queued ones, and False.
    """
    by_age = room.runs.active().order_by("queued_at", "pk")
    runs = list(by_age[: MAX_ACTIVE + 1])
    if len(runs) <= MAX_ACTIVE:
        return runs, True
    started = (RunState.RUNNING, RunState.WAITING)
    first = by_age.filter(state__in=started).order_by("state", "queued_at", "pk")
    running = list(first[:MAX_ACTIVE])  # "running" is before "waiting"
    claimed = {run.pk for run in running}  # some of them since the first query
    queued = [r for r in runs if r.state == RunState.QUEUED and r.pk not in claimed]
    return [*running, *queued][:MAX_ACTIVE], False


def positions(room: Room) -> dict[UUID, int]:
    """Return the positions of a room's queued runs in the queue of their team; 1 is next.

    Runs behind MAX_POSITION are left out.
    """
    rows = _queued(room.team_id).values_list("pk", "room_id")[:MAX_POSITION]
    queue = enumerate(rows, start=1)
    return {run_id: position for position, (run_id, room_id) in queue if room_id == room.pk}


def position_of(run: Run) -> int | None:
    """Return the position of a run in the queue of its team.

    None if the run is not queued, or is behind MAX_POSITION.
    """
    if run.state != RunState.QUEUED:
        return None
    older = Q(queued_at__lt=run.queued_at) | Q(queued_at=run.queued_at, pk__lt=run.pk)
    # Without the run itself: SQLite's own time, of a run that goes on, has fewer digits than ours.
    others = _queued(run.team_id).exclude(pk=run.pk)
    return shown_position(others.filter(older)[:MAX_POSITION].count() + 1)


def shown_position(position: int) -> int | None:
    """Return a position as clients get it: None behind MAX_POSITION."""
    return position if position <= MAX_POSITION else None


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


def _quota(team: Parameter, room: Parameter, user: Parameter) -> QuerySet[TeamQuota]:
    # Apart, because each state has an index of its own, and the position counts queued runs only.
    queued = Run.objects.filter(team=team, state=RunState.QUEUED)
    waiting = Run.objects.filter(team=team, state=RunState.WAITING)
    return TeamQuota.objects.filter(pk=team).annotate(
        queued_user=_count(queued.filter(requested_by=user)),
        queued_room=_count(queued.filter(room=room)),
        queued_team=_count(queued),
        waiting_user=_count(waiting.filter(requested_by=user)),
        waiting_room=_count(waiting.filter(room=room)),
        waiting_team=_count(waiting),
        now=Now(),
    )


def _count(runs: QuerySet[Run]) -> Coalesce:
    counted = runs.values("team").annotate(runs=Count("pk")).values("runs")
    return Coalesce(Subquery(counted), 0)


class _CountUpTo(Subquery):
    """The number of rows of a query with a limit."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) bounded)"
    output_field = IntegerField()


def _queue_length(team: Parameter) -> QuerySet[TeamQuota]:
    queued = Run.objects.filter(team=team, state=RunState.QUEUED).values("pk")
    return TeamQuota.objects.filter(pk=team).annotate(
        queued_team=_CountUpTo(queued[:MAX_POSITION]), now=Now()
    )


_QUOTA: Final = PreparedQuery(_quota, team=UUIDField(), room=UUIDField(), user=UUIDField())
_QUEUE_LENGTH: Final = PreparedQuery(_queue_length, team=UUIDField())
