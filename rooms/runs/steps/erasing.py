"""Removes the text of a message that was deleted or edited from the work of runs.

The caller holds the lock of the room, and records the events.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from django.db.models import QuerySet

from accounts.database.prepared_queries import insert
from rooms import event_log
from rooms.models import Message, Quote, Run, ToolCall
from rooms.protocol.events import DurableEvent
from rooms.runs.steps import open_questions
from rooms.runs.steps.calls import show


def erase_work(run: Run, answer: Message) -> list[DurableEvent]:
    """Remove what the run of a deleted answer has asked and got; return the events.

    The result of the call that has asked for the run is the text of the answer.
    """
    run.requests.update(text="")
    run.calls.update(arguments="", extra="", result="", short="", note="")
    run.steering.update(text="")
    open_questions.erase(answer)
    return _empty(ToolCall.objects.filter(children=run))


def quote(call: ToolCall, messages: Collection[UUID]) -> None:
    """Store which messages the result of a call quotes, in the transaction that stores it."""
    insert(*(Quote(call=call, message_id=message) for message in messages))


def forget(messages: Sequence[Message]) -> list[DurableEvent]:
    """Empty the results of tools that quote one of these messages; return the events."""
    quoting = Quote.objects.filter(message__in=messages).values("call")
    return _empty(ToolCall.objects.filter(pk__in=quoting).exclude(result=""))


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
    Quote.objects.filter(call__in=found).delete()
    shown: defaultdict[UUID, list[ToolCall]] = defaultdict(list)
    for call in found:
        call.result = ""
        if call.shown_by_id and call.run.answer and call.run.answer.deleted_at is None:
            shown[call.run.answer.pk].append(call)
    for answer, of_answer in shown.items():
        event_log.hide_results(answer, {str(call.pk) for call in of_answer})
    return [show(of_answer[0].run, of_answer) for of_answer in shown.values()]
