"""Goes on with runs and rounds that wait for what has ended already.

The transaction that ends a run closes the call that has asked for it, and begins the next step of
its round. A worker of a version without rounds, which runs during a rolling start, ends runs
without that, and nothing else would ever go on with what waits for them.
"""

from typing import Final
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from accounts.database import is_database_available
from accounts.errors import is_outage
from rooms.event_log import record
from rooms.models import CallState, Room, Round, RoundState, Run, RunState, ToolCall
from rooms.runs.crews import round_steps, trees
from rooms.runs.steps.resuming import WAITED_FOR, resume

log = structlog.get_logger(__name__)

BATCH: Final = 500
"""The most rooms of each kind that one call looks at."""


def go_on_with_left_behind() -> int:
    """Go on with what waits for runs that have ended; return the number of rooms.

    Reads all waiting runs and running rounds, so it is not for each poll of a worker. Never waits
    for the lock of a room: the next call finds it again.
    """
    found: set[UUID] = set()
    found.update(_calls().values_list("run__room", flat=True).distinct()[:BATCH])
    found.update(_runs().values_list("room", flat=True).distinct()[:BATCH])
    found.update(_rounds().values_list("room", flat=True).distinct()[:BATCH])
    done = 0
    for room_id in found:
        try:
            done += _go_on(room_id)
        except Exception as error:  # the other rooms must still go on
            if is_outage(error) and not is_database_available():
                raise
            log.exception("run.left_behind", room=str(room_id))
    return done


def _calls() -> QuerySet[ToolCall]:
    """Return the calls that wait for runs of which all have ended."""
    children = Run.objects.filter(parent_call=OuterRef("pk"))
    running = ToolCall.objects.filter(run__state=RunState.WAITING, state=CallState.RUNNING)
    return running.filter(Exists(children), ~Exists(children.active()))


def _runs() -> QuerySet[Run]:
    """Return the waiting runs without a call that they wait for."""
    waited_for = ToolCall.objects.filter(run=OuterRef("pk"), state__in=WAITED_FOR)
    return Run.objects.filter(~Exists(waited_for), state=RunState.WAITING)


def _rounds() -> QuerySet[Round]:
    """Return the running rounds of which all runs have ended."""
    runs = Run.objects.filter(round=OuterRef("pk"))
    return Round.objects.filter(Exists(runs), ~Exists(runs.active()), state=RoundState.RUNNING)


@transaction.atomic
def _go_on(room_id: UUID) -> int:
    """Go on in one room; return 0 if nothing waits there any more, or its lock is not free."""
    room = Room.objects.locked(skip_locked=True).filter(pk=room_id).first()
    if room is None:
        return 0
    calls = list(_calls().filter(run__room=room).values_list("pk", flat=True)[:BATCH])
    children = Run.objects.filter(parent_call__in=calls).order_by("pk")
    trees.close_calls(room, children.select_related("answer", "persona"))
    waiting = _runs().filter(room=room).select_for_update(of=("self",)).select_related("answer")
    runs = list(waiting.order_by("pk")[:BATCH])
    for run in runs:
        record(room, *resume(run))
    rounds = list(_rounds().filter(room=room)[:BATCH])
    round_steps.go_on(room, Run.objects.filter(round__in=rounds).order_by("pk"))
    return bool(calls or runs or rounds)
