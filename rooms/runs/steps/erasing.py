"""Removes the text of a message that was deleted or edited from the work of runs.

The caller holds the lock of the room, and records the events.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import Final
from uuid import UUID

from django.db.models import Q, QuerySet

from agents.tools.catalog import CATALOG
from rooms import event_log
from rooms.models import Message, Room, Run, ToolCall
from rooms.protocol.events import DurableEvent
from rooms.runs.steps import open_questions
from rooms.runs.steps.calls import show

READS: Final = [tool.id for tool in CATALOG if tool.key in ("read_message", "search_room")]
"""The tools whose results have texts of the room's messages, each behind the id of its message.

Their calls name the room (`ToolCall.quotes_room`): a room has fewer of them than it has runs.
"""
CLOCK_SKEW: Final = timedelta(hours=1)
"""The clocks of two processes differ by less."""


def erase_work(run: Run, answer: Message) -> list[DurableEvent]:
    """Remove what the run of a deleted answer has asked and got; return the events.

    The result of the call that has asked for the run is the text of the answer.
    """
    run.requests.update(text="")
    run.calls.update(arguments="", extra="", result="", short="", note="")
    run.steering.update(text="")
    open_questions.erase(answer)
    return _empty(ToolCall.objects.filter(children=run))


def forget(room: Room, messages: Sequence[Message]) -> list[DurableEvent]:
    """Empty the results of tools that have read messages of a room; return the events.

    Of runs that ended after the first of the messages was posted: the others cannot have read one.
    """
    posted_at = min(message.created_at for message in messages) - CLOCK_SKEW
    later = Q(run__ended_at__gte=posted_at) | Q(run__ended_at=None)
    read = reduce(or_, (Q(result__contains=str(message.pk)) for message in messages))
    return _empty(ToolCall.objects.filter(later, read, quotes_room=room.pk))


def is_outdated(read: Mapping[UUID, str]) -> bool:
    """Return True if one of these messages was deleted or edited since it was read.

    `forget` has not found the result then, because it was not stored yet.
    """
    if not read:
        return False
    return dict(Message.objects.filter(pk__in=read).values_list("pk", "text")) != read


def _empty(calls: QuerySet[ToolCall]) -> list[DurableEvent]:
    """Empty the results of calls, also where they were shown; return the events."""
    found = list(calls.select_related("run__answer"))
    if not found:
        return []
    ToolCall.objects.filter(pk__in=[call.pk for call in found]).update(result="")
    shown: defaultdict[UUID, list[ToolCall]] = defaultdict(list)
    for call in found:
        call.result = ""
        if call.shown_by_id and call.run.answer and call.run.answer.deleted_at is None:
            shown[call.run.answer.pk].append(call)
    for answer, of_answer in shown.items():
        event_log.hide_results(answer, {str(call.pk) for call in of_answer})
    return [show(of_answer[0].run, of_answer) for of_answer in shown.values()]
