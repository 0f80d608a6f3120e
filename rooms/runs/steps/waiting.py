"""Runs that wait for people or for other runs: no worker, no lease and no connection is theirs.

A waiting run costs nothing per second. The transaction that closes its last open call queues it
again under its next attempt.
"""

from functools import cache
from typing import Final
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import QuerySet, Sum
from django.db.models.functions import Coalesce, Now

from accounts.database import is_database_available
from accounts.errors import is_outage
from agents.engine_types import AnswerFailed, Usage
from rooms.event_log import record
from rooms.markup import ParsedText, parse
from rooms.models import Denial, Question, QuestionState, Room, Run, RunState, ToolCall
from rooms.protocol.events import MessageUpdated, RunWaiting
from rooms.protocol.serializers import message_body, run_body
from rooms.runs import leases
from rooms.runs.ending import add_usage, count_tokens, end_runs
from rooms.runs.lifecycle import Job
from rooms.runs.steps import accepted_lines, open_questions
from rooms.runs.steps.calls import answer_of, decide, show
from rooms.runs.steps.resuming import resume

log = structlog.get_logger(__name__)

BATCH: Final = 100
"""The most approvals that one look ends."""
MAX_RESUMED: Final = 100
"""More than the calls of a run: an engine that waits for nothing would start again forever."""
PARAGRAPH: Final = "\n\n"
"""What the engine puts between the texts of two requests."""


def wait(job: Job, text: str, usage: Usage | None) -> None:
    """Let a run wait, with the text of its answer so far; it is queued again if nothing is open.

    Raises LeaseLost.
    """
    written = parse(text.rstrip())  # before the transaction: no post waits for the room lock
    with transaction.atomic():
        room, run = leases.lock_owned(job.run, job.owner, job.attempt)
        if run.resumed >= MAX_RESUMED:
            end_runs(room, {run: AnswerFailed("internal", usage=usage)}, written)
            return
        _leave(room, run, written, usage)


def go_on(job: Job, text: str, usage: Usage | None) -> None:
    """Queue a run again whose answer was steered at its end, when its worker had asked for lines.

    The end of the answer is stored as a request that the lines follow. Raises LeaseLost.
    """
    written = parse(text.rstrip())  # before the transaction: no post waits for the room lock
    with transaction.atomic():
        room, run = leases.lock_owned(job.run, job.owner, job.attempt)
        accepted_lines.take(room, run, _last_request(run, text, usage))
        _leave(room, run, written, usage)


def _last_request(run: Run, text: str, usage: Usage | None) -> accepted_lines.EndedRequest:
    """Return the request with which an answer has ended: what is not in the stored requests."""
    stored = list(run.requests.order_by("number"))
    tokens = None
    if usage is not None:
        of_attempt = run.requests.filter(created_at__gte=run.started_at).aggregate(
            input=Coalesce(Sum("input_tokens"), 0), output=Coalesce(Sum("output_tokens"), 0)
        )
        tokens = (
            max(0, usage.input_tokens - of_attempt["input"]),
            max(0, usage.output_tokens - of_attempt["output"]),
        )
    for each in stored:  # each text is a paragraph of its own
        if not text.startswith(each.text):
            text = text.removeprefix(PARAGRAPH)
        text = text.removeprefix(each.text)
    number = stored[-1].number + 1 if stored else 0
    return accepted_lines.EndedRequest(number, text.removeprefix(PARAGRAPH), tokens)


def _leave(room: Room, run: Run, written: ParsedText, usage: Usage | None) -> None:
    """Let a run that its worker leaves wait, with the text of its answer so far."""
    answer = answer_of(run)
    rendered = written.in_room(cache(room.handles))
    answer.text, answer.html = written.text, rendered.html
    answer.save(update_fields=["text", "html"])
    run.state, run.lease_owner, run.lease_until = RunState.WAITING, "", None
    run.started_at = None  # hours of waiting are no time of an attempt
    add_usage(run, usage)
    changed = ["state", "lease_owner", "lease_until", "started_at"]
    run.save(update_fields=[*changed, "input_tokens", "output_tokens"])
    record(
        room,
        MessageUpdated(message_body(answer, run)),
        RunWaiting(run_body(run)),
        *resume(run),
    )
    transaction.on_commit(lambda: count_tokens(usage), robust=True)


def expire() -> None:
    """Deny the calls that were not decided in time, and end the questions that are overdue.

    At most BATCH of each. Two queries on indexes that have only what is open, however many runs
    wait. Never waits for the lock of a room, as `leases.reap` does: the next look finds the call
    again.
    """
    calls = ToolCall.objects.asked().filter(expires_at__lt=Now())
    asking = Question.objects.filter(state=QuestionState.OPEN, expires_at__lt=Now())
    overdue = [(_expire, pk) for pk in _oldest(calls)]
    overdue += [(_end_question, pk) for pk in _oldest(asking)]
    for end, call_id in overdue:
        try:
            end(call_id)
        except Exception as error:  # the other calls must still expire
            if is_outage(error) and not is_database_available():
                raise
            log.exception("approval.not_expired", call=str(call_id))


def _oldest(overdue: QuerySet[ToolCall] | QuerySet[Question]) -> list[UUID]:
    return list(overdue.order_by("expires_at").values_list("pk", flat=True)[:BATCH])


@transaction.atomic
def _expire(call_id: UUID) -> None:
    rooms = Room.objects.locked(skip_locked=True).filter(runs__calls=call_id)
    for room in rooms:
        run, call = lock_call(room, call_id)
        if events := decide(call, run, "expired", denial=Denial.EXPIRED):
            record(room, *events, show(run, [call]), *resume(run))


@transaction.atomic
def _end_question(call_id: UUID) -> None:
    rooms = Room.objects.locked(skip_locked=True).filter(runs__calls=call_id)
    for room in rooms:
        run, call = lock_call(room, call_id)
        question = Question.objects.select_related("call").get(pk=call.pk)
        if question.state == QuestionState.OPEN:
            record(room, *open_questions.end(question, run, QuestionState.EXPIRED), *resume(run))


def lock_call(room: Room, call_id: UUID) -> tuple[Run, ToolCall]:
    """Lock the run of a call in a locked room; return both."""
    runs = Run.objects.select_for_update(of=("self",)).select_related("answer", "persona")
    run = runs.get(room=room, calls=call_id)
    return run, run.calls.select_related("decided_by").get(pk=call_id)
