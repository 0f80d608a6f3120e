"""Cancels and retries runs, cancels rounds and passes over their steps, and continues chains."""

from collections.abc import Collection
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.errors import Conflict
from accounts.models import User
from agents.permissions import USE, access_persona
from rooms.event_log import record
from rooms.markup import parse
from rooms.models import ACTIVE, Message, Room, Round, Run, RunState, Why
from rooms.permissions import (
    MODERATE,
    POST,
    VIEW,
    access_message,
    access_round,
    access_run,
    lock_room,
)
from rooms.protocol.events import MessageUpdated
from rooms.protocol.serializers import message_body
from rooms.runs import chains, queue
from rooms.runs.crews import round_steps
from rooms.runs.ending import Cancelled, cancel_runs, end_runs, fail_unauthorized_runs
from rooms.runs.steps.open_approvals import recheck_approvals, rooms_with_approvals
from rooms.services.questions import recheck_questions, rooms_with_questions

RETRYABLE: Final = (RunState.FAILED, RunState.CANCELLED, RunState.COMPLETED)
MAX_VERSIONS: Final = 20
"""The maximum number of versions of an answer."""
MAX_MOVED: Final = 1_000
"""A new version moves the replies of the version before it while the room is locked."""


@transaction.atomic
def cancel_run(*, user: User, run_id: UUID) -> Run:
    """Cancel a run, as its asker or a moderator; a run that has ended is returned unchanged.

    A round goes on with its next persona.
    """
    room, run = _lock_run(user, run_id, VIEW)
    if run.state in ACTIVE:
        end_runs(room, {run: Cancelled(user.pk)})
    return run


@transaction.atomic
def retry_run(*, user: User, run_id: UUID) -> Run:
    """Queue a new run on the message of a run that has ended, and return it.

    The answer of the new run is a new version of a completed answer, or of an answer that was a
    version itself. Raises Conflict if the run is active, its message or its answer is deleted, the
    persona has an active run on the message already, the message or the answer has a later version,
    or the answer has too many versions or replies. A round that has paused at the run goes on.
    """
    room, run = _lock_run(user, run_id, POST)
    persona = access_persona(user, run.persona_id, USE)
    active = run.message.runs.active().filter(persona=persona)
    if run.state not in RETRYABLE or run.message.deleted_at or active.exists():
        raise Conflict(_("This answer cannot be retried now. Send a new message instead."))
    if run.message.replaced_by is not None:  # nobody sees what the new answer would reply to
        raise Conflict(_("This answer replies to an earlier version. Reply to the last version."))
    replaces = _replaced_by_retry(room, run)
    (new,), events = queue.queue_runs(
        room,
        run.message,
        [(persona, Why.RETRY)],
        user,
        origin=run.origin_id,
        retried=run,
        replaces=replaces,
        round_id=run.round_id,
        parent_call=run.parent_call_id,
        leads=run.leads,
    )
    resumed = round_steps.retry(run.round_id, run, new) if run.round_id else []
    record(room, *resumed, *events)
    return new


def _replaced_by_retry(room: Room, run: Run) -> UUID | None:
    """Return the answer of which a retry makes a new version; None if it makes another answer.

    A run that ended before it wrote its version is retried on the answer that it would have
    replaced. Raises Conflict if that answer cannot have another version.
    """
    answer = run.answer
    if answer is None and run.replaces is not None:
        answer = room.messages.get(pk=run.replaces)
    elif answer is None or (run.state != RunState.COMPLETED and answer.replaces is None):
        return None
    if answer.deleted_at or answer.replaced_by:
        raise Conflict(_("There is a later version of this answer. Reload the room."))
    if answer.runs.active().exists():  # their prompts end with this answer
        raise Conflict(
            _("A persona is replying to this answer. Wait for its reply, then try again.")
        )
    if answer.reply_count > MAX_MOVED:
        raise Conflict(_("This answer has too many replies. Ask again in its thread."))
    if answer.answer_version >= MAX_VERSIONS:
        raise Conflict(_("This answer has 20 versions. Send a new message instead."))
    return answer.pk


@transaction.atomic
def cancel_round(*, user: User, round_id: UUID) -> Round:
    """Cancel a round and its run, as its asker or a moderator; no further persona answers.

    A round that has ended is returned unchanged.
    """
    room = _lock_room_of_round(user, round_id, VIEW)
    round_steps.cancel(room, Q(pk=round_id))
    cancel_runs(room, user.pk, Q(round=round_id))
    return room.rounds.get(pk=round_id)


@transaction.atomic
def skip_step(*, user: User, round_id: UUID) -> Round:
    """Let a round go on after the step at which it has paused, as its asker or a moderator.

    Raises Conflict if the round has not paused.
    """
    room = _lock_room_of_round(user, round_id, POST)
    return round_steps.skip(room, round_id)


def _lock_room_of_round(user: User, round_id: UUID, asker_needs: str) -> Room:
    """Lock the room of a round. The asker needs `asker_needs`; other users MODERATE."""
    round_ = access_round(user, round_id, VIEW)
    needs = asker_needs if round_.requested_by_id == user.pk else MODERATE
    return lock_room(user, round_.room_id, needs)


@transaction.atomic
def fail_unauthorized_runs_of(*, askers: Collection[User], teams: Collection[UUID]) -> None:
    """Fail the active runs of `askers` in these teams that are no longer authorized.

    Open questions that wait only for users who may not post any more end, also those of other runs,
    and so do calls on which no person may decide any more.
    The caller has checked the permission of the acting user.
    """
    unended = Run.objects.active().filter(team__in=teams, requested_by__in=askers)
    concerned = Q(pk__in=unended.values("room")) | Q(pk__in=rooms_with_questions(teams))
    concerned |= Q(pk__in=rooms_with_approvals(teams))
    rooms = Room.objects.locked().filter(concerned, team__in=teams)
    for room in rooms.order_by("pk"):
        fail_unauthorized_runs(room, Q(requested_by__in=askers))
        recheck_questions(room)
        recheck_approvals(room)


def continue_answers(*, user: User, message_id: UUID) -> tuple[Message, list[Run]]:
    """Queue the runs for which the chain had stopped at an answer, as the questions of `user`.

    A chain with limits of its own begins. Returns the answer and the runs. Raises Conflict if no
    chain has stopped there.
    """
    answer = access_message(user, message_id, MODERATE)
    written = parse(answer.text)  # before the transaction: no post waits for the room lock
    with transaction.atomic():
        room = lock_room(user, answer.room_id, MODERATE)
        answer = room.messages.get(pk=message_id)
        if answer.capped_at is None or answer.deleted_at or answer.replaced_by:
            raise Conflict(_("The personas did not stop here. Nothing is left to continue."))
        asked = chains.personas_asked(room, answer, written, user)
        runs, events = queue.queue_runs(room, answer, asked, user)
        answer.capped_at = None
        answer.save(update_fields=["capped_at"])
        run = room.runs.filter(answer=answer).first()
        record(room, MessageUpdated(message_body(answer, run)), *events)
        return answer, runs


def _lock_run(user: User, run_id: UUID, asker_needs: str) -> tuple[Room, Run]:
    """Lock a run and its room. The asker needs `asker_needs`; other users MODERATE."""
    asked = access_run(user, run_id, VIEW)
    needs = asker_needs if asked.requested_by_id == user.pk else MODERATE
    room = lock_room(user, asked.room_id, needs)
    run = Run.objects.select_for_update(of=("self",)).select_related("answer").get(pk=run_id)
    return room, run
