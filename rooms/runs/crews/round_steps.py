"""Rounds: personas that answer one message in turn, each with the answers before it.

Only the run of the current step exists. The transaction that ends it (`ending.end_runs`) also
queues the run of the next step, so a round goes on after the death of any process. A round pauses
at a step that fails, until the step is retried or skipped. A step that a user stops, or whose
persona may not answer any more, is passed over.

The answers of a round ask no other personas (see `chains`): their turn comes anyway, and chains
would multiply with rounds.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from django.conf import settings
from django.db.models import Q
from django.utils import timezone, translation
from django.utils.translation import gettext_lazy as _

from accounts.errors import Conflict, Invalid
from accounts.models import User
from agents.models import Persona
from rooms.event_log import record
from rooms.models import Message, Room, Round, RoundState, Run, RunState, Why
from rooms.protocol.events import DurableEvent, RoundChanged
from rooms.protocol.failures import (
    ASKER_DELETED,
    ASKER_MAY_NOT_POST,
    ASKER_MAY_NOT_USE,
    PERSONA_UNBOUND,
)
from rooms.protocol.serializers import round_body
from rooms.runs import queue
from rooms.runs.crews.rights import unauthorized
from rooms.runs.responders import MAX_IN_TURN

OPEN: Final = (RoundState.RUNNING, RoundState.PAUSED)

WAITING: Final = "waiting"
RUNNING: Final = "running"
"""The run of the step is queued, running or waits for people."""
SKIPPED: Final = "skipped"

NO_ASKER: Final = (ASKER_DELETED, ASKER_MAY_NOT_POST)
"""The refusals that concern all steps of a round."""

Step = dict[str, Any]  # Any: the values of JSON


def begin(
    room: Room, message: Message, asked: Sequence[tuple[Persona, Why]], user: User
) -> tuple[list[Run], list[DurableEvent]]:
    """Store the round of a message and queue its first run; the caller has locked the room.

    Returns the run, none if no persona may answer, and the events, which the caller records
    together with its own. Of too many personas that the policy has chosen, the first ones answer.
    Raises Invalid for too many others, and RateLimited if too many runs are queued already.
    """
    limit = min(MAX_IN_TURN, settings.ANSWERS_PER_MESSAGE)
    personas = [persona for persona, why in asked[:limit] if why == Why.POLICY]
    personas = personas or [persona for persona, _why in asked]
    if len(personas) > limit:
        sentence = _("At most %(limit)s personas can answer in turn. Choose fewer.")
        raise Invalid(sentence % {"limit": limit})
    steps = [Step(persona=str(p.pk), name=p.name, run=None, state=WAITING) for p in personas]
    round_ = Round(room=room, message=message, requested_by=user, steps=steps)
    round_.save(force_insert=True)
    runs, queued = _begin_next(room, round_, is_admitted=False)
    return runs, [_save(round_), *queued]


def go_on(room: Room, ended: Iterable[Run]) -> None:
    """Queue the next runs of rounds whose current steps have ended, and record the events.

    Called in the transaction that ends the runs. Without runs of rounds it costs no query.
    """
    of_rounds: defaultdict[UUID, list[Run]] = defaultdict(list)
    for run in ended:
        if run.round_id is not None:
            of_rounds[run.round_id].append(run)
    for round_ in _open(room, Q(pk__in=of_rounds)) if of_rounds else ():
        for run in of_rounds[round_.pk]:
            for step in round_.steps:
                if step["run"] == str(run.pk) and step["state"] == RUNNING:
                    _end_step(room, round_, step, run)


def _end_step(room: Room, round_: Round, step: Step, run: Run) -> None:
    """Store how a step has ended, and begin the next one unless the round pauses or ends."""
    step["state"] = run.state
    queued: list[DurableEvent] = []
    if run.state == RunState.FAILED:
        step["reason"] = run.error_reason or run.error_code
        _end_failed_step(round_, step, run)
    if round_.state == RoundState.RUNNING:
        with translation.override(run.language):
            _runs, queued = _begin_next(room, round_, is_admitted=True)
    record(room, _save(round_), *queued)


def _end_failed_step(round_: Round, step: Step, run: Run) -> None:
    """Decide whether the round ends, passes over the step, or pauses at it."""
    is_of_asker = run.requested_by_id == round_.requested_by_id  # others may retry a step
    if run.error_code != "not_allowed":
        round_.state = RoundState.PAUSED
    elif run.error_reason in NO_ASKER and is_of_asker:
        _end(round_, RoundState.CANCELLED)
    elif run.error_reason in (*NO_ASKER, ASKER_MAY_NOT_USE) and not is_of_asker:
        round_.state = RoundState.PAUSED
    else:
        step["state"] = SKIPPED


def _begin_next(
    room: Room, round_: Round, *, is_admitted: bool
) -> tuple[list[Run], list[DurableEvent]]:
    """Queue the first waiting step whose persona may answer; without one, the round has ended.

    The personas before it are passed over. The asker's rights are asked for each of them. Returns
    the run and its events; the caller saves the round. A round whose first run was admitted to the
    queue of the team has only one run there at a time, so later ones are not counted again.
    """
    asker, message = round_.requested_by, round_.message
    waiting = [step for step in round_.steps if step["state"] == WAITING]
    personas = Persona.objects.in_bulk([UUID(step["persona"]) for step in waiting])
    wanted = {
        pk: Run(room=room, message=message, persona=persona, requested_by=asker)
        for pk, persona in personas.items()
    }
    refusals = unauthorized(room, wanted.values())
    for step in waiting:
        run = wanted.get(UUID(step["persona"]))
        refusal = refusals[run].reason if run in refusals else "" if run else PERSONA_UNBOUND
        if refusal in NO_ASKER or message.deleted_at or asker is None:
            _end(round_, RoundState.CANCELLED)
            return [], []
        if refusal:
            step |= {"state": SKIPPED, "reason": refusal}
            continue
        asked = [(personas[UUID(step["persona"])], Why.ROUND)]
        runs, queued = queue.queue_runs(
            room, message, asked, asker, round_id=round_.pk, is_admitted=is_admitted
        )
        step |= {"state": RUNNING, "run": str(runs[0].pk)}
        return runs, [*queued]
    _end(round_, RoundState.COMPLETED)
    return [], []


def retry(round_id: UUID, failed: Run, new: Run) -> list[DurableEvent]:
    """Let the round go on with the run that retries its failed step; return the events.

    A round that has not paused at this step is not changed: a failed step before it was skipped.
    """
    round_ = Round.objects.filter(pk=round_id, state=RoundState.PAUSED).first()
    if round_ is None:
        return []
    *_skipped, step = [each for each in round_.steps if each["state"] == RunState.FAILED]
    if step["run"] != str(failed.pk):
        return []
    round_.state = RoundState.RUNNING
    step |= {"state": RUNNING, "run": str(new.pk)}
    del step["reason"]
    return [_save(round_)]


def skip(room: Room, round_id: UUID) -> Round:
    """Go on after the step at which a round has paused. Raises Conflict if it has not paused."""
    paused = [each for each in _open(room, Q(pk=round_id)) if each.state == RoundState.PAUSED]
    if not paused:
        raise Conflict(_("This round has not paused. Reload the room."))
    (round_,) = paused
    round_.state = RoundState.RUNNING
    last = round_.runs.order_by("pk").last()
    with translation.override(last.language if last else None):
        _runs, queued = _begin_next(room, round_, is_admitted=True)
    record(room, _save(round_), *queued)
    return round_


def leave_out(room: Room, persona_id: UUID, reason: str) -> None:
    """Pass over the waiting steps of a persona in the open rounds of a locked room."""
    for round_ in _open(room, Q()):
        steps = [each for each in round_.steps if each["persona"] == str(persona_id)]
        if waiting := [step for step in steps if step["state"] == WAITING]:
            for step in waiting:
                step |= {"state": SKIPPED, "reason": reason}
            record(room, _save(round_))


def cancel(room: Room, concerned: Q) -> None:
    """End the open rounds of a locked room that match; the caller then cancels their runs."""
    for round_ in _open(room, concerned):
        _end(round_, RoundState.CANCELLED)
        record(room, _save(round_))


def count_waiting(run: Run) -> int:
    """Return how many personas have their turn after a run of a round; 0 for other runs."""
    steps = run.round.steps if run.round is not None else ()
    return sum(step["state"] == WAITING for step in steps)


def answer_before(run: Run) -> Message | None:
    """Return the last answer in a round before the step of a run; None without one.

    It costs no query for a run of no round.
    """
    if run.round is None:
        return None
    before: list[str] = []
    for step in run.round.steps:
        if step["persona"] == str(run.persona_id):
            break
        before.append(step["run"])
    runs = Run.objects.filter(pk__in=filter(None, before)).exclude(answer__text="")
    found = {str(run.pk): run.answer for run in runs.select_related("answer") if run.answer}
    return next((found[run_id] for run_id in reversed(before) if run_id in found), None)


def _open(room: Room, concerned: Q) -> list[Round]:
    rounds = Round.objects.filter(concerned, room=room, state__in=OPEN)
    return list(rounds.select_related("message", "requested_by").order_by("pk"))


def _end(round_: Round, state: RoundState) -> None:
    round_.state, round_.ended_at = state, timezone.now()
    for step in round_.steps:
        if step["state"] in (WAITING, RUNNING):
            step["state"] = RunState.CANCELLED.value


def _save(round_: Round) -> RoundChanged:
    """Store a round, also in its message, which the room shows; return the event."""
    round_.save(update_fields=["steps", "state", "ended_at"])
    body = round_body(round_)
    round_.message.round = msgspec.to_builtins(body)
    round_.message.save(update_fields=["round"])
    return RoundChanged(round=body)
