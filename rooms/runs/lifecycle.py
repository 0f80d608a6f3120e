"""The life of a run in the database: claimed, started, ended. The row is the truth and the queue.

Whoever writes for a run shows the owner and the attempt that it was claimed under; a worker whose
lease was taken over meanwhile is refused by that. Locks are taken in one order: room, then run.
"""

from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone, translation
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.errors import MaruError
from accounts.models import User
from agents.engine_types import AnswerFailed, PersonaSpec, Turn, Usage
from agents.models import Persona
from agents.permissions import USE, rights_in
from agents.services import spec_for
from rooms.event_log import record
from rooms.markup import render
from rooms.models import AuthorKind, Message, MessageStatus, Room, Run, RunState
from rooms.permissions import POST, access_room
from rooms.protocol.events import (
    DurableEvent,
    MessageCompleted,
    MessageCreated,
    MessageUpdated,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunQueued,
    RunStarted,
)
from rooms.protocol.serializers import message_body, run_body
from rooms.runs import context, queue
from rooms.runs.delta_store import replay
from rooms.runs.notifications import tell_stopped, wake
from rooms.runs.queue import LEASE

log = structlog.get_logger(__name__)

MAX_ATTEMPTS: Final = 3
NOT_HERE: Final = gettext_lazy("%(persona)s is not in this room any more.")
KEYLESS: Final = gettext_lazy("The key of %(persona)s was taken away. Ask an admin for another.")


class LeaseLost(Exception):
    """The run is not this worker's any more: it was stopped, has ended, or was taken over."""


@dataclass(frozen=True, slots=True)
class Job:
    """All that a worker needs in order to answer, read once: nothing in it touches a model."""

    run: UUID
    team: UUID
    room: UUID
    message: UUID
    owner: str
    attempt: int
    base: int
    language: str
    spec: PersonaSpec
    turns: list[Turn]


def queue_runs(
    room: Room, message: Message, personas: Sequence[Persona], user: User
) -> tuple[list[Run], list[RunQueued]]:
    """Put an answer of each persona in line, in the transaction that has the room locked.

    Returns the runs, and the events that the caller records with its own. Raises RateLimited where
    too many wait already.
    """
    if not personas:
        return [], []
    ahead = queue.enter(room, user, len(personas))
    language = translation.get_language() or "en"
    queued = [
        Run(
            room=room,
            team_id=room.team_id,
            message=message,
            persona=persona,
            requested_by=user,
            language=language,
        )
        for persona in personas
    ]
    Run.objects.bulk_create(queued)
    wake()
    return queued, [RunQueued(run_body(run, ahead + n)) for n, run in enumerate(queued, start=1)]


def take(owner: str, *, idle_teams_only: bool = False) -> tuple[UUID, Job | None] | None:
    """Claim the next run and start it; None if nothing waits, no job if it failed at its start.

    Two transactions: a claim locks a run, and a start its room before it. SQLite, which locks all
    of itself, need not wait for its disk twice.
    """
    locks_rows = connection.features.has_select_for_update
    with nullcontext() if locks_rows else transaction.atomic():
        run_id = queue.claim(owner, idle_teams_only=idle_teams_only)
        if run_id is None:
            return None
        try:
            return run_id, start(run_id, owner)
        except LeaseLost:
            return run_id, None


@transaction.atomic
def start(run_id: UUID, owner: str) -> Job | None:
    """Open the answer of a claimed run in its room and return the job; None if there is none.

    Whether the asker may still ask and the persona may still answer is judged here, not when the
    run was queued; if not, the run has failed with a sentence in the room.
    """
    room, run = _lock(run_id, owner)
    with translation.override(run.language):
        try:
            _check_allowed(room, run)
            spec = spec_for(run.persona)
        except AnswerFailed as refusal:
            _end(room, run, refusal)
            return None
    run.started_at = timezone.now()
    created: list[DurableEvent] = []
    if run.answer is None:
        run.answer = _open_answer(room, run)
        created.append(MessageCreated(message_body(run.answer, run.pk)))
    else:  # whoever had it before may not know that it has lost it
        replay().seal(run.answer.pk, run.attempt - 1)
    run.save(update_fields=["answer", "started_at"])
    record(room, *created, RunStarted(run_body(run)))
    return Job(
        run=run.pk,
        team=room.team_id,
        room=room.pk,
        message=run.answer.pk,
        owner=owner,
        attempt=run.attempt,
        base=room.last_seq,
        language=run.language,
        spec=spec,
        turns=context.turns(run),
    )


@transaction.atomic
def complete(job: Job, text: str, usage: Usage | None) -> None:
    """End a run with its whole text. Raises LeaseLost if it is not this worker's any more."""
    room, run = _lock(job.run, job.owner, job.attempt)
    run.state = RunState.COMPLETED
    _keep_usage(run, usage)
    answer = _keep_text(room, run, text, MessageStatus.COMPLETE)
    _close(run)
    record(room, MessageCompleted(message_body(answer, run.pk)), RunCompleted(run_body(run)))


@transaction.atomic
def fail(job: Job, failure: AnswerFailed, text: str) -> None:
    """End a run with the reason that the room is told; `text` is what has been shown of it."""
    room, run = _lock(job.run, job.owner, job.attempt)
    _end(room, run, failure, text)


def cancel(room: Room, run: Run, stopped_by: UUID) -> None:
    """End a run that is queued or running, in the transaction that has both locked.

    Its worker is not asked: it is told that it has no lease any more, and writes nothing from here
    on.
    """
    _cancel(room, [run], stopped_by)


def cancel_all(room: Room, stopped_by: UUID) -> None:
    """End what has not ended in a room, in the transaction that has the room locked."""
    unended = room.runs.select_for_update(of=("self",)).select_related("answer")
    in_line = unended.active().order_by("queued_at", "pk")
    _cancel(room, list(in_line), stopped_by)


def _cancel(room: Room, in_line: Sequence[Run], stopped_by: UUID) -> None:
    """End runs, oldest first, and tell of it once: there may be hundreds of them."""
    if not in_line:
        return
    waited = [run for run in in_line if run.state == RunState.QUEUED]
    if len(waited) < len(in_line):
        tell_stopped()
    record(room, *(event for run in in_line for event in _cancelled(room, run, stopped_by)))
    if waited:  # behind the room's own events, which are published whatever becomes of this
        # No `partial`: Django asks what fails for a name that it does not have.
        transaction.on_commit(lambda: queue.tell_who_was_behind(waited[0]), robust=True)


def _cancelled(room: Room, run: Run, stopped_by: UUID) -> list[DurableEvent]:
    run.state = RunState.CANCELLED
    run.stopped_by_id = stopped_by
    events: list[DurableEvent] = []
    if run.answer is not None:
        answer = _keep_text(room, run, _seal(run), MessageStatus.CANCELLED)
        events.append(MessageUpdated(message_body(answer, run.pk)))
    _close(run)
    return [*events, RunCancelled(run_body(run))]


def end_unallowed(room: Room) -> None:
    """Fail what may not go on in a room, in the transaction that has it locked.

    To be called by whatever takes a right: an answer that is being said is judged as one at its
    start is, and ends with the same sentence.
    """
    unended = room.runs.active().select_for_update(of=("self",))
    for run in unended.select_related("answer", "requested_by", "persona"):
        with translation.override(run.language):
            try:
                _check_allowed(room, run)
            except AnswerFailed as refusal:
                if run.state == RunState.RUNNING:
                    tell_stopped()
                _end(room, run, refusal, _seal(run))


def abandon(room: Room, personas: Collection[Persona], reason: Promise) -> None:
    """Fail what personas have not ended in a locked room, for a reason with a `%(persona)s`."""
    unended = room.runs.select_for_update(of=("self",)).select_related("answer", "persona")
    for run in unended.active().filter(persona__in=personas):
        with translation.override(run.language):
            detail = str(reason) % {"persona": run.persona.name}
        if run.state == RunState.RUNNING:
            tell_stopped()
        _end(room, run, AnswerFailed("not_allowed", detail), _seal(run))


@transaction.atomic
def keep_leases(owner: str, run_ids: Collection[UUID]) -> set[UUID]:
    """Extend the leases of `owner` on these runs and return those that are still theirs.

    It never waits: a row that is locked is being changed just now, and the next beat is near.
    """
    mine = Run.objects.filter(pk__in=run_ids, state=RunState.RUNNING, lease_owner=owner)
    free = list(mine.select_for_update(skip_locked=True).values_list("pk", flat=True))
    Run.objects.filter(pk__in=free).update(lease_until=Now() + LEASE)
    return set(mine.values_list("pk", flat=True))


@transaction.atomic
def release(owner: str) -> None:
    """Hand back what `owner` is still running: it waits in line again, at once.

    It waits for no row: whoever has one locked, and a room before it, may be waiting for another.
    """
    mine = Run.objects.filter(state=RunState.RUNNING, lease_owner=owner).order_by("pk")
    free = list(mine.select_for_update(skip_locked=True).values_list("pk", flat=True))
    runs = Run.objects.filter(pk__in=free)
    if runs.update(state=RunState.QUEUED, lease_owner="", lease_until=None):
        wake()


def sweep(living: Collection[UUID] = ()) -> None:
    """Put runs whose worker has died back in line; fail those that were tried often enough.

    `living` are those that the caller answers itself: their leases ran out while it slept.
    """
    left = _left_by_the_dead().exclude(pk__in=living)
    for run_id in list(left.values_list("pk", flat=True)):
        try:
            _take_from_the_dead(run_id)
        except (OperationalError, InterfaceError):
            raise
        except Exception:  # the others are not to wait for one that cannot be ended
            log.exception("run.unswept", run=str(run_id))


def _left_by_the_dead() -> QuerySet[Run]:
    """Judged by the database's clock, which is one for all: workers' clocks differ."""
    no_lease = Q(lease_until=None) | Q(lease_until__lt=Now())
    return Run.objects.filter(no_lease, state=RunState.RUNNING)


@transaction.atomic
def _take_from_the_dead(run_id: UUID) -> None:
    try:
        room, run = _lock_pair(run_id)
    except LeaseLost:
        return  # gone with its room
    if not _left_by_the_dead().filter(pk=run_id).exists():
        return
    if run.attempt < MAX_ATTEMPTS:
        run.state, run.lease_owner, run.lease_until = RunState.QUEUED, "", None
        run.save(update_fields=["state", "lease_owner", "lease_until"])
        wake()
        return
    with translation.override(run.language):
        detail = _("The answer was cut off several times on our side. Ask again in a while.")
        _end(room, run, AnswerFailed("worker_lost", detail), _seal(run))


def _lock(run_id: UUID, owner: str, attempt: int | None = None) -> tuple[Room, Run]:
    """Lock a run and its room for the worker that owns it; raises LeaseLost for any other."""
    room, run = _lock_pair(run_id)
    if run.state != RunState.RUNNING or run.lease_owner != owner:
        raise LeaseLost
    if attempt is not None and run.attempt != attempt:
        raise LeaseLost
    return room, run


def _lock_pair(run_id: UUID) -> tuple[Room, Run]:
    try:
        room = Room.objects.select_for_update(of=("self",), no_key=True).get(runs=run_id)
        runs = Run.objects.select_for_update(of=("self",))
        run = runs.select_related("answer", "message", "requested_by", "persona__connection").get(
            pk=run_id
        )
    except (Room.DoesNotExist, Run.DoesNotExist):
        raise LeaseLost from None
    return room, run


def _check_allowed(room: Room, run: Run) -> None:
    """Raise AnswerFailed with the reason why the asker may not ask, or the persona not answer."""
    persona = run.persona
    try:
        if run.requested_by is None:
            raise AnswerFailed("not_allowed", _("Whoever asked has no account here any more."))
        access_room(run.requested_by, room.pk, POST)
    except MaruError:
        detail = _("Whoever asked may not write in this room any more.")
        raise AnswerFailed("not_allowed", detail) from None
    if USE not in rights_in(run.requested_by, persona):
        detail = _("Whoever asked may not ask %(persona)s any more.") % {"persona": persona.name}
        raise AnswerFailed("not_allowed", detail)
    if not persona.enabled:
        detail = _("%(persona)s is switched off. An admin can switch it on again.")
        raise AnswerFailed("not_allowed", detail % {"persona": persona.name})
    if not room.bindings.filter(persona=persona).exists():
        raise AnswerFailed("not_allowed", str(NOT_HERE) % {"persona": persona.name})


def _open_answer(room: Room, run: Run) -> Message:
    return Message.objects.create(
        room=room,
        seq=room.last_seq + 1,
        persona=run.persona,
        author_kind=AuthorKind.PERSONA,
        author_name=run.persona.name,
        author_handle=run.persona.handle,
        reply_to_id=run.message_id,
        status=MessageStatus.STREAMING,
    )


def _end(room: Room, run: Run, failure: AnswerFailed, text: str = "") -> None:
    run.state = RunState.FAILED
    _keep_usage(run, failure.usage)
    run.error_code, run.error_detail = failure.code, str(failure.detail)[:400]
    events: list[DurableEvent] = []
    if run.answer is not None:
        answer = _keep_text(room, run, text, MessageStatus.FAILED)
        events.append(MessageUpdated(message_body(answer, run.pk)))
    _close(run)
    record(room, *events, RunFailed(run_body(run)))


def _seal(run: Run) -> str:
    """Let nothing more of an answer be shown, and return what was."""
    return replay().seal(run.answer_id, run.attempt) if run.answer_id else ""


def _keep_text(room: Room, run: Run, text: str, status: MessageStatus) -> Message:
    answer = run.answer
    assert answer is not None
    answer.text = "" if answer.deleted_at else text.rstrip()
    answer.html = render(answer.text, room.handles_in(answer.text))
    answer.status = status
    answer.save(update_fields=["text", "html", "status"])
    return answer


def _keep_usage(run: Run, usage: Usage | None) -> None:
    if usage is not None:
        run.input_tokens, run.output_tokens = usage.input_tokens, usage.output_tokens


def _close(run: Run) -> None:
    run.lease_owner, run.lease_until, run.ended_at = "", None, timezone.now()
    run.save()
