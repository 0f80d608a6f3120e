"""The end of runs. Only `end_runs` ends a run; its callers choose the runs and the reasons."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import chain
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone, translation

from agents.engine_types import AnswerFailed, Usage
from agents.models import Persona
from rooms import metrics, replies
from rooms.event_log import record
from rooms.fanout import unread
from rooms.markup import MAX_CHARACTERS, ParsedText, parse
from rooms.models import Message, MessageStatus, Room, Run, RunState
from rooms.protocol.events import (
    DurableEvent,
    MessageCompleted,
    MessageUpdated,
    RunCancelled,
    RunCompleted,
    RunFailed,
)
from rooms.protocol.serializers import message_body, run_body
from rooms.runs import queue
from rooms.runs.crews import round_steps, trees
from rooms.runs.crews.rights import not_allowed, unauthorized
from rooms.runs.delta_store import delta_store
from rooms.runs.notifications import notify_stopped
from rooms.runs.steps import accepted_lines, open_questions
from rooms.runs.steps.calls import withdraw


@dataclass(frozen=True, slots=True)
class Completed:
    """The reason of a run whose answer is complete."""

    usage: Usage | None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The reason of a run that a user has stopped; None if the run that asked for it has failed."""

    stopped_by: UUID | None


Reason = Completed | AnswerFailed | Cancelled

_STATES: Final = {
    Completed: (RunState.COMPLETED, MessageStatus.COMPLETE, RunCompleted),
    AnswerFailed: (RunState.FAILED, MessageStatus.FAILED, RunFailed),
    Cancelled: (RunState.CANCELLED, MessageStatus.CANCELLED, RunCancelled),
}


BATCH: Final = 500
"""The idle runs that one transaction cancels before a room or a team is deleted."""
IDLE: Final = (RunState.QUEUED, RunState.WAITING)
"""The states of runs that no worker owns; a team may have many thousands of them."""

_FIELDS_OF_END: Final = (
    *("state", "stopped_by_id", "error_code", "error_reason", "error_persona"),
    *("input_tokens", "output_tokens", "lease_owner", "lease_until", "ended_at"),
)


def end_runs(room: Room, reasons: Mapping[Run, Reason], written: ParsedText | None = None) -> None:
    """End active runs of a room, in the order of `reasons`; the transaction has locked all of them.

    `written` is the answer, if the worker of the run ends it: it parses the text before it locks
    the room, because that can take 50 ms. `written` is None if another process ends the
    run: the worker is notified that it has lost its lease, and the text is what the delta store
    has. These texts are parsed while the room is locked: after MAX_CHARACTERS in all, they are
    stored without formatting. The events of all runs are recorded at once. Rounds of which a step
    has ended go on, so do runs that have asked for one of these; the runs that these have asked for
    are cancelled.
    """
    if not reasons:
        return
    queued = [run for run in reasons if run.state == RunState.QUEUED]
    if written is None and any(run.state == RunState.RUNNING for run in reasons):
        notify_stopped()
    ended_at, handles = timezone.now(), cache(room.handles)
    accepted_lines.fail(reasons)
    texts = _Texts(written)
    ends = (_end(run, reasons[run], texts, ended_at, handles) for run in reasons)
    record(room, *chain.from_iterable(ends))
    _save_ends(reasons)
    trees.close_calls(room, reasons)
    _stop_asked_for(room, reasons)
    round_steps.go_on(room, reasons)
    transaction.on_commit(lambda: _count(reasons.values()), robust=True)
    if queued:
        # Runs after the room's own on_commit callbacks; robust=True so that a failure here cannot
        # block them. A lambda, because Django logs the __qualname__ of a callback that fails, which
        # a `partial` does not have.
        oldest = min(queued, key=lambda run: (run.queued_at, run.pk))
        transaction.on_commit(lambda: queue.publish_positions_behind(oldest), robust=True)


def _stop_asked_for(room: Room, reasons: Mapping[Run, Reason]) -> None:
    """Cancel the active runs that ended runs have asked for."""
    concerned = trees.asked_for_by(reasons)
    if concerned is None:
        return
    by = {run.pk: each.stopped_by for run, each in reasons.items() if isinstance(each, Cancelled)}
    children = _lock_active(room, concerned).select_related("parent_call", "persona")
    parents = {child: child.parent_call.run_id for child in children if child.parent_call}
    end_runs(room, {child: Cancelled(by.get(parent)) for child, parent in parents.items()})


class _Texts:
    """The texts of unfinished answers, of which the first MAX_CHARACTERS are formatted."""

    def __init__(self, written: ParsedText | None) -> None:
        self._written = written
        self._characters = MAX_CHARACTERS

    def take(self, run: Run, answer: Message, reason: Reason) -> ParsedText:
        """Return the text with which an answer ends.

        An answer that has waited has its text in the database. Its next attempt starts the text
        over, so what that attempt has published may be shorter.
        """
        text = self._published(run, answer)
        is_part = len(text) < len(answer.text) and not isinstance(reason, Completed)
        if self._written is not None and not is_part:
            return self._written
        text = answer.text if is_part else text
        written = parse(text, max_characters=self._characters)
        self._characters = max(0, self._characters - len(text))
        return written

    def _published(self, run: Run, answer: Message) -> str:
        """Return the text of an attempt; close it in the delta store unless its worker ends it."""
        if self._written is not None:
            return self._written.text
        if run.state == RunState.WAITING:
            return ""
        return delta_store().close(answer.pk, run.attempt).rstrip()


def _end(
    run: Run,
    reason: Reason,
    texts: _Texts,
    ended_at: datetime,
    handles: Callable[[], Mapping[str, UUID | None]],
) -> list[DurableEvent]:
    """Set the end of one run, write the end of its answer, and return the events."""
    events = [*open_questions.withdraw(run), *withdraw(run)]
    written = None if run.answer is None else texts.take(run, run.answer, reason)
    run.state, status, run_ended = _STATES[type(reason)]
    if isinstance(reason, Cancelled):
        run.stopped_by_id = reason.stopped_by
    else:
        add_usage(run, reason.usage)
    if isinstance(reason, AnswerFailed):
        run.error_code, run.error_reason = reason.code, reason.reason
        run.error_persona = reason.persona
    if run.answer is not None and written is not None:
        answer = run.answer
        if not answer.deleted_at:
            rendered = written.in_room(handles)
            answer.text, answer.html = written.text, rendered.html
            mentioned = unread.add_mentions(answer, rendered.mentioned, handles)
            replies.follow_as_mentioned(answer, mentioned)
        answer.status = status
        answer.save(update_fields=["text", "html", "status", "steps", "steered"])
        message_ended = MessageCompleted if isinstance(reason, Completed) else MessageUpdated
        events.append(message_ended(message_body(answer, run)))
    run.lease_owner, run.lease_until, run.ended_at = "", None, ended_at
    # Programs that show `detail` as it is get it in the language of the question.
    with translation.override(run.language):
        return [*events, run_ended(run_body(run))]


def add_usage(run: Run, usage: Usage | None) -> None:
    """Add the tokens of an attempt to those of the attempts that ended by waiting."""
    if usage is None:
        return
    total = Usage(run.input_tokens or 0, run.output_tokens or 0) + usage
    run.input_tokens, run.output_tokens = total.input_tokens, total.output_tokens


def _save_ends(runs: Iterable[Run]) -> None:
    """Store the end of runs, with one query for each group of runs that end in the same way."""
    groups: dict[tuple[object, ...], list[UUID]] = {}
    for run in runs:
        end = tuple(getattr(run, name) for name in _FIELDS_OF_END)
        groups.setdefault(end, []).append(run.pk)
    for end, run_ids in groups.items():
        changes = dict(zip(_FIELDS_OF_END, end, strict=True))
        Run.objects.filter(pk__in=run_ids).update(**changes)


def _count(reasons: Iterable[Reason]) -> None:
    for reason in reasons:
        if isinstance(reason, Cancelled):
            metrics.RUNS_ENDED.labels("cancelled").inc()
            continue
        code = reason.code if isinstance(reason, AnswerFailed) else "completed"
        metrics.RUNS_ENDED.labels(code).inc()
        count_tokens(reason.usage)


def count_tokens(usage: Usage | None) -> None:
    """Count the tokens of an attempt in the metrics of this process."""
    if usage is not None:
        metrics.TOKENS.labels("input").inc(usage.input_tokens)
        metrics.TOKENS.labels("output").inc(usage.output_tokens)


def cancel_runs(room: Room, stopped_by: UUID, *conditions: Q) -> None:
    """Cancel the active runs of a locked room that match all conditions."""
    end_runs(room, dict.fromkeys(_lock_active(room, *conditions), Cancelled(stopped_by)))


def cancel_all(room: Room, stopped_by: UUID) -> None:
    """Cancel the rounds and the active runs of a locked room that is archived or deleted."""
    round_steps.cancel(room, Q())
    cancel_runs(room, stopped_by)


def cancel_idle(room: Room, stopped_by: UUID) -> bool:
    """Cancel the rounds of a locked room, and up to BATCH of its runs that no worker owns.

    Return True if there may be more runs.
    """
    round_steps.cancel(room, Q())
    runs = _lock_active(room, Q(state__in=IDLE))[:BATCH]
    end_runs(room, dict.fromkeys(runs, Cancelled(stopped_by)))
    return len(runs) == BATCH


def fail_runs_of_personas(room: Room, personas: Collection[Persona], reason: str) -> None:
    """Fail the active runs of personas in a locked room, for a reason of `protocol.failures`."""
    runs = _lock_active(room, Q(persona__in=personas)).select_related("persona")
    end_runs(room, {run: not_allowed(run, reason) for run in runs})


def fail_unauthorized_runs(room: Room, concerned: Q) -> None:
    """Fail the active runs of a locked room that are no longer authorized; `concerned` filters.

    Services that revoke a right call this, so that a streaming answer is subject to the same
    checks, and ends with the same sentence, as a run at its start. The number of queries does not
    depend on the number of runs.
    """
    runs = list(_lock_active(room, concerned).select_related("persona"))
    end_runs(room, unauthorized(room, runs))


def _lock_active(room: Room, *conditions: Q) -> QuerySet[Run]:
    """Return the active runs of a locked room, oldest first; the query locks them."""
    runs = room.runs.active().filter(*conditions).select_for_update(of=("self",))
    return runs.select_related("answer").order_by("queued_at", "pk")
