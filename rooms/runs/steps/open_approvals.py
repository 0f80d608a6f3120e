"""Open approvals whose deciders change: whom they ask now, or that no person may decide on them."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from rooms.event_log import record
from rooms.models import ACTIVE, Denial, Room, ToolCall
from rooms.protocol.events import ApprovalRequested
from rooms.protocol.serializers import approval_body
from rooms.runs.steps import policy
from rooms.runs.steps.calls import decide, show
from rooms.runs.steps.resuming import resume
from rooms.runs.steps.waiting import lock_call


def recheck_approvals(room: Room) -> None:
    """Ask the people who may decide now on the open calls of a locked room.

    Called after a change of rights in the room. A call on which no person may decide is withdrawn,
    and its run goes on: it would wait until it expires.
    """
    calls = _open().filter(run__room=room)
    for call_id in list(calls.order_by("pk").values_list("pk", flat=True)):
        run, call = lock_call(room, call_id)
        users = policy.deciders(room, run, call.deciders, personal=call.personal)
        asked_of = [str(user) for user in users]
        if not asked_of:
            events = decide(call, run, "withdrawn", denial=Denial.NO_DECIDER)
            record(room, *events, show(run, [call]), *resume(run))
        elif set(asked_of) != set(call.asked_of):
            call.asked_of = asked_of
            call.save(update_fields=["asked_of"])
            record(room, ApprovalRequested(approval_body(call, run)))


def rooms_with_approvals(teams: Collection[UUID]) -> QuerySet[ToolCall, Any]:
    """Return the ids of the rooms of these teams that have open approvals, for a lookup."""
    return _open().filter(run__team__in=teams).values("run__room")


def _open() -> QuerySet[ToolCall]:
    # The state of the run leads to the few unended runs of a room (`run_unended_in_room`).
    return ToolCall.objects.asked().filter(run__state__in=ACTIVE)
