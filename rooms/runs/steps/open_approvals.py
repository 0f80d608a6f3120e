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
    and its run goes on: it would wait until it expires. The number of queries does not depend on
    the number of calls that go on asking the same people.
    """
    found: dict[tuple[UUID | None, str, bool], list[str]] = {}  # by what decides who may decide
    for read in _open().filter(run__room=room).select_related("run").order_by("pk"):
        rule = (read.run.requested_by_id, read.deciders, read.personal)
        if rule not in found:
            users = policy.deciders(room, read.run, read.deciders, personal=read.personal)
            found[rule] = [str(user) for user in users]
        asked_of = found[rule]
        if set(asked_of) == set(read.asked_of):
            continue
        run, call = lock_call(room, read.pk)
        if not asked_of:
            events = decide(call, run, "withdrawn", denial=Denial.NO_DECIDER)
            record(room, *events, show(run, [call]), *resume(run))
        else:
            call.asked_of = asked_of
            call.save(update_fields=["asked_of"])
            record(room, ApprovalRequested(approval_body(call, run)))


def rooms_with_approvals(teams: Collection[UUID]) -> QuerySet[ToolCall, Any]:
    """Return the ids of the rooms of these teams that have open approvals, for a lookup."""
    return _open().filter(run__team__in=teams).values("run__room")


def _open() -> QuerySet[ToolCall]:
    # The state of the run leads to the few unended runs of a room (`run_unended_in_room`).
    return ToolCall.objects.asked().filter(run__state__in=ACTIVE)
