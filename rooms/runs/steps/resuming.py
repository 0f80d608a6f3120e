"""Queues a waiting run again when none of its calls is open any more."""

from typing import Final

from django.db.models.functions import Now

from rooms.models import CallState, Run, RunState
from rooms.protocol.events import DurableEvent, RunQueued
from rooms.protocol.serializers import run_body
from rooms.runs import queue
from rooms.runs.notifications import notify_queued

WAITED_FOR: Final = (CallState.ASKED, CallState.RUNNING)
"""The states of the calls that a run waits for, after its attempt has ended."""


def resume(run: Run) -> list[DurableEvent]:
    """Queue a waiting run again if none of its calls is open; return the event, or nothing.

    The caller has locked the room and the run, and closed a call of it.
    """
    if run.state != RunState.WAITING or run.calls.filter(state__in=WAITED_FOR).exists():
        return []
    run.state = RunState.QUEUED
    run.resumed += 1
    # The age of the run in the queue begins here: people may have taken a day. The time is that of
    # the database, which orders the queue.
    run.queued_at = Run.objects.values_list(Now(), flat=True).get(pk=run.pk)
    run.save(update_fields=["state", "resumed", "queued_at"])
    notify_queued()
    return [RunQueued(run_body(run, queue.position_of(run)))]
