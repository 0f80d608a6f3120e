"""A run and the runs that it has asked for: how the end of one reaches the other.

A call of `ask_persona` stays `running` until its run has ended. The transaction that ends the run
closes the call with its answer, and queues the run that waits for it. A run that ends stops the
runs that it has asked for.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q
from django.utils import translation

from agents.tool_types import MAX_STORED_RESULT
from rooms.event_log import record
from rooms.models import CallState, Room, Run, RunState, ToolCall
from rooms.protocol.failures import failure_sentence
from rooms.runs.steps.calls import show
from rooms.runs.steps.resuming import resume

STOPPED: Final = "A person stopped this answer."
NO_WORDS: Final = "The persona has ended without an answer."


@dataclass(frozen=True, slots=True)
class Spent:
    """What the runs of a tree have used before an attempt: tokens that were written, and seconds.

    `share` is the number of runs that use the rest at the same time.
    """

    tokens: int = 0
    seconds: float = 0.0
    share: int = 1


NOTHING_SPENT: Final = Spent()


def close_calls(room: Room, ended: Iterable[Run]) -> None:
    """Give the answers of ended runs to the runs that have asked for them; record the events.

    Called in the transaction that ends the runs. Without runs that were asked for by another run it
    costs no query.
    """
    children = {run.parent_call_id: run for run in ended if run.parent_call_id is not None}
    if not children:
        return
    calls = ToolCall.objects.filter(pk__in=children, state=CallState.RUNNING)
    for call in calls.order_by("run", "position"):
        child = children[call.pk]
        parents = Run.objects.select_for_update(of=("self",)).select_related("answer")
        parent = parents.get(pk=call.run_id)
        call.state, call.result = _result(child)
        call.short = child.persona.name
        call.ms = _milliseconds(child)
        call.save(update_fields=["state", "result", "short", "ms"])
        record(room, show(parent, [call]), *resume(parent))


def _result(child: Run) -> tuple[CallState, str]:
    """Return the state of the call of a run that has ended, and the text for the model."""
    if child.state == RunState.CANCELLED:
        return CallState.FAILED, STOPPED
    if child.state == RunState.FAILED:
        with translation.override("en"):  # as all words to models
            sentence = failure_sentence(child.error_code, child.error_reason, child.error_persona)
        return CallState.FAILED, sentence
    text = child.answer.text if child.answer else ""
    return CallState.DONE, text[:MAX_STORED_RESULT] or NO_WORDS


def _milliseconds(run: Run) -> int | None:
    if run.started_at is None or run.ended_at is None:
        return None
    return max(0, round((run.ended_at - run.started_at) / timedelta(milliseconds=1)))


def asked_for_by(ended: Iterable[Run]) -> Q | None:
    """Return a condition for the runs that ended runs have asked for; None if they have no calls.

    A run that has ended needs no answer any more.
    """
    asking = [run.pk for run in ended if run.answer is not None and run.answer.steps]
    if not asking:
        return None
    # The ids, not a join: PostgreSQL would read all runs that were ever asked for by another.
    calls = list(ToolCall.objects.filter(run__in=asking).values_list("pk", flat=True))
    return Q(parent_call__in=calls) if calls else None


def spent(run: Run) -> Spent:
    """Return what the tree of a run has used before this attempt; no query for its first attempt.

    The seconds are those of the last attempts of the runs that were asked for, without the time in
    which they waited: of those that one request has asked for, which run at the same time, only the
    longest counts.
    """
    root = run.pk if run.parent_call is None else run.parent_call.run_id
    if run.parent_call is None and not run.resumed:
        return NOTHING_SPENT
    requests = Run.objects.get(pk=root).requests.values_list("output_tokens", flat=True)
    tokens = sum(filter(None, requests))
    longest: dict[int, timedelta] = {}
    children = Run.objects.filter(parent_call__run=root, ended_at__isnull=False)
    columns = ("parent_call__request", "started_at", "ended_at", "output_tokens")
    for request, started_at, ended_at, written in children.values_list(*columns):
        tokens += written or 0
        took = _between(started_at, ended_at)
        longest[request] = max(longest.get(request, timedelta()), took)
    share = 1
    if run.parent_call is not None:
        open_calls = (CallState.ASKED, CallState.ALLOWED, CallState.RUNNING)
        siblings = ToolCall.objects.filter(run=root, tool=run.parent_call.tool)
        share = max(1, siblings.filter(state__in=open_calls).count())
    seconds = sum(longest.values(), timedelta()).total_seconds()
    return Spent(tokens=tokens, seconds=seconds, share=share)


@dataclass(frozen=True, slots=True)
class Asking:
    """The run that has asked for another run, its call, and its question; "" after a deletion."""

    run: Run
    call: ToolCall
    question: str


def asking(run: Run) -> Asking | None:
    """Return who has asked for a run; None, without a query, for a run that a person asked for."""
    if run.parent_call_id is None:
        return None
    related = ("run__message", "run__persona", "run__round")
    call = ToolCall.objects.select_related(*related).get(pk=run.parent_call_id)
    arguments = json.loads(call.arguments or "{}")
    return Asking(call.run, call, str(arguments.get("question", "")))


def _between(started_at: datetime | None, ended_at: datetime) -> timedelta:
    return timedelta() if started_at is None else max(ended_at - started_at, timedelta())
