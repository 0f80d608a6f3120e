"""Leases: which worker owns a running run, and until when.

A worker renews the leases of its runs. A run whose lease has expired is queued again under the next
attempt; the attempt is the fencing token, so that the former worker can no longer write to the run.
An attempt that has ended by waiting is not counted against MAX_ATTEMPTS.
Locks are taken in one order: room, then run.
"""

from collections.abc import Collection
from typing import Any, Final
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, UUIDField
from django.db.models.functions import Now

from accounts.database import is_database_available
from accounts.database.prepared_queries import PreparedQuery
from accounts.errors import is_outage
from agents.engine_types import AnswerFailed
from agents.tools.registry import has_tools
from rooms.models import Room, Run, RunState, Steer, SteerState
from rooms.protocol.failures import INTERRUPTED
from rooms.runs import queue
from rooms.runs.ending import end_runs
from rooms.runs.notifications import notify_queued

log = structlog.get_logger(__name__)

MAX_ATTEMPTS: Final = 3


class LeaseLost(Exception):
    """The worker does not own the run any more: it has ended, or another worker has claimed it."""


@transaction.atomic
def renew(owner: str, run_ids: Collection[UUID]) -> set[UUID]:
    """Extend the leases of `owner` on these runs and return the runs that `owner` still owns.

    Never waits for a row lock: a locked run is renewed by the next heartbeat.
    """
    owned = Run.objects.filter(pk__in=run_ids, state=RunState.RUNNING, lease_owner=owner)
    free = list(owned.select_for_update(skip_locked=True).values_list("pk", flat=True))
    Run.objects.filter(pk__in=free).update(lease_until=Now() + queue.LEASE)
    return set(owned.values_list("pk", flat=True))


@transaction.atomic
def release(owner: str) -> None:
    """Queue again all runs that `owner` is running, without waiting for their leases to expire.

    Never waits for a row lock: the transaction that has locked a run, and its room before it, may
    be waiting for another run of this worker.
    """
    owned = Run.objects.filter(state=RunState.RUNNING, lease_owner=owner).order_by("pk")
    free = list(owned.select_for_update(skip_locked=True).values_list("pk", flat=True))
    runs = Run.objects.filter(pk__in=free)
    if runs.update(state=RunState.QUEUED, lease_owner="", lease_until=None):
        notify_queued()


def reap(own_runs: Collection[UUID] = ()) -> None:
    """Queue the runs with expired leases again; fail runs that have had MAX_ATTEMPTS.

    `own_runs` are left out: the caller is running them, and their leases expired while its process
    was suspended. Never waits for the lock of a room.
    """
    expired = _expired().exclude(pk__in=own_runs)
    for run_id in list(expired.values_list("pk", flat=True)):
        try:
            _reap(run_id)
        except Exception as error:  # the other runs must still be reaped
            # The error of one run may be a timeout of its own statement or transaction.
            if is_outage(error) and not is_database_available():
                raise
            log.exception("run.not_reaped", run=str(run_id))


def _expired() -> QuerySet[Run]:
    """Return the running runs with expired leases, by the clock of the database.

    The clocks of the workers differ.
    """
    no_lease = Q(lease_until=None) | Q(lease_until__lt=Now())
    return Run.objects.filter(no_lease, state=RunState.RUNNING)


@transaction.atomic
def _reap(run_id: UUID) -> None:
    """Queue one run again, or fail it. A room that is locked is left to the next call.

    The worker claims no runs while this waits, and a service may hold the lock for long: it could
    not renew the lease for this reason.
    """
    rooms = _LOCK_FREE_ROOM_OF(run=run_id)
    runs = _LOCK_RUNS(runs=[run_id]) if rooms else []
    if not runs or not _expired().filter(pk=run_id).exists():
        return
    (room,), (run,) = rooms, runs
    if run.attempt - run.resumed < MAX_ATTEMPTS:
        run.state, run.lease_owner, run.lease_until = RunState.QUEUED, "", None
        run.save(update_fields=["state", "lease_owner", "lease_until"])
        notify_queued()
        return
    end_runs(room, {run: AnswerFailed("worker_lost", INTERRUPTED)})


def lock_owned(run_id: UUID, owner: str, attempt: int) -> tuple[Room, Run]:
    """Lock a run and its room. Raises LeaseLost unless `owner` is running it, under `attempt`."""
    room, run = _lock(run_id)
    if not is_owned(run, owner, attempt):
        raise LeaseLost
    return room, run


def is_owned(run: Run, owner: str, attempt: int) -> bool:
    """Return True if `owner` is running the run, under `attempt`; the caller has locked it."""
    return (run.state, run.lease_owner, run.attempt) == (RunState.RUNNING, owner, attempt)


def lock_runs(room_id: UUID, run_ids: Collection[UUID]) -> tuple[Room | None, list[Any]]:
    """Lock a room and runs of it; return the room, None if it was deleted, and the runs by age.

    A run has the annotation `has_tools`: its persona has tools.
    """
    rooms = _LOCK_ROOM(room=room_id)
    return (rooms[0], _LOCK_TO_START(runs=list(run_ids))) if rooms else (None, [])


def _lock(run_id: UUID) -> tuple[Room, Run]:
    """Lock a run and its room. Raises LeaseLost if there is no such run."""
    rooms = _LOCK_ROOM_OF(run=run_id)
    runs = _LOCK_RUNS(runs=[run_id]) if rooms else []
    if not runs:
        raise LeaseLost
    return rooms[0], runs[0]


def _locked(runs: Any) -> QuerySet[Run]:  # Any: the stubs know only values
    found = Run.objects.filter(pk__in=runs).select_for_update(of=("self",))
    related = ("answer", "message", "persona__connection")
    lines = Steer.objects.filter(run=OuterRef("pk"), state=SteerState.ACCEPTED)
    found = found.select_related(*related).annotate(has_accepted_lines=Exists(lines))
    return found.order_by("queued_at", "pk")


_LOCK_ROOM: Final = PreparedQuery(
    lambda room: Room.objects.locked().filter(pk=room), room=UUIDField()
)
_LOCK_ROOM_OF: Final = PreparedQuery(
    lambda run: Room.objects.locked().filter(runs=run), run=UUIDField()
)
_LOCK_FREE_ROOM_OF: Final = PreparedQuery(
    lambda run: Room.objects.locked(skip_locked=True).filter(runs=run), run=UUIDField()
)
_LOCK_RUNS: Final = PreparedQuery(_locked, runs=[UUIDField()])
_LOCK_TO_START: Final = PreparedQuery(
    lambda runs: _locked(runs).annotate(has_tools=has_tools(OuterRef("persona"))),
    runs=[UUIDField()],
)
