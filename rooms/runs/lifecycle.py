"""The life of a run in the database: queued, claimed, started, completed or failed by its worker.

The table of runs is also the queue. A worker writes under the owner and the attempt of its claim;
if it has lost the run, `leases.LeaseLost` is raised. Locks are taken in one order: room, then run.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import DateTimeField, UUIDField
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from accounts.database.prepared_queries import PreparedUpdate, insert
from agents.engine_types import AnswerFailed, PersonaSpec, Surroundings, Turn, Usage
from agents.services import build_spec
from agents.tool_types import PastRequest
from rooms import replies
from rooms.event_log import record
from rooms.fanout import unread
from rooms.markup import parse
from rooms.models import (
    AuthorKind,
    Message,
    MessageStatus,
    Room,
    RoomSummary,
    Run,
    RunState,
    Steer,
)
from rooms.protocol.events import (
    DurableEvent,
    MessageCreated,
    MessageUpdated,
    RunStarted,
)
from rooms.protocol.serializers import message_body, run_body
from rooms.runs import chains, context, leases, queue
from rooms.runs.claims import Claim
from rooms.runs.context import RoomReading
from rooms.runs.crews import led, trees
from rooms.runs.crews.rights import BoundPersona, bound_personas, unauthorized
from rooms.runs.crews.trees import NOTHING_SPENT, Spent
from rooms.runs.delta_store import delta_store
from rooms.runs.ending import Completed, Reason, end_runs
from rooms.runs.steps import accepted_lines
from rooms.runs.steps.past import take_over

_PIN: Final = ("pinned_seq", "pinned_at", "pinned_by_id")
STOPPED: Final = (RunState.CANCELLED, RunState.FAILED)


@dataclass(frozen=True, slots=True)
class Job:
    """The data that a worker needs to answer a run, read once. No attribute is a model.

    `message` is the answer; `base` is the room's seq after `run.started`. `waited` is the number of
    seconds from the queuing of the run to this claim. `past` are the requests of earlier attempts
    that asked for tools or were steered, and `spent` what they and the runs that they have asked
    for have used of the limits of a run. `turns` and `surroundings` are for the model; `from_seq`
    is that of the oldest turn, if older messages of the room have not fitted.
    """

    run: UUID
    team: UUID
    room: UUID
    message: UUID
    owner: str
    attempt: int
    base: int
    spec: PersonaSpec
    turns: list[Turn]
    surroundings: Surroundings
    started_at: datetime
    past: Sequence[PastRequest] = ()
    spent: Spent = NOTHING_SPENT
    from_seq: int | None = None
    waited: float = 0.0


@transaction.atomic
def start(
    owner: str, claims: Collection[Claim], ask: Callable[[Job], None] = lambda _job: None
) -> list[Job]:
    """Create the answers of claimed runs of one room, and return the jobs, oldest run first.

    Runs that `owner` has lost since are left out, and so are runs that fail: the rights of the
    asker and of the persona are checked here, because they may have been revoked while the run was
    queued. `ask` is called with each job before its answer is written, so that the provider can be
    asked meanwhile. Nothing of its answer may be shown before the return, and nothing of it counts
    if this function raises.
    """
    attempts = {claim.run: claim.attempt for claim in claims}
    room, locked = leases.lock_runs(next(iter(claims)).room, attempts)
    if room is None:
        return []
    runs = [run for run in locked if leases.is_owned(run, owner, attempts[run.pk])]
    bound = bound_personas(room)
    allowed = _allowed(room, runs, bound)
    if not allowed:
        return []
    reading = context.read_room(room, bound)
    jobs: list[Job] = []
    events: list[DurableEvent] = []
    started = _Started([run for run, _spec in allowed])
    for run, spec in allowed:
        run.started_at = timezone.now()
        past: Sequence[PastRequest] = ()
        lines, applied = accepted_lines.apply_at_start(run)
        if run.answer is None:
            answer = _new_answer(room, run, seq=room.last_seq + len(events) + 1)
            accepted_lines.show_applied(answer, applied)
            events += _place(answer, run, started)
        else:  # the worker of the former attempt may still be streaming
            answer = run.answer
            delta_store().close(answer.pk, run.attempt - 1)
            if applied:
                accepted_lines.show_applied(answer, applied)
                answer.save(update_fields=["steered"])
                events.append(MessageUpdated(message_body(answer, run)))
            past, settled = take_over(run, spec, lines)
            events += settled
        events.append(RunStarted(run_body(run)))
        base = room.last_seq + len(events)
        jobs.append(_job(reading, run, answer, spec, lines=lines, past=past, base=base))
        ask(jobs[-1])
    insert(*started.answers)
    for run, _spec in allowed:
        _SET_STARTED(run=run.pk, answer=run.answer_id, started_at=run.started_at)
    record(room, *events)
    return jobs


def _allowed(
    room: Room, runs: Sequence[Run], bound: Sequence[BoundPersona]
) -> list[tuple[Run, PersonaSpec]]:
    """Return the runs that may be answered with their personas; the other runs fail.

    Runs that were asked for by one that fails are left out: its end cancels them.
    """
    refusals = unauthorized(room, runs, bound)
    specs: dict[Run, PersonaSpec] = {}
    for run in runs:
        if run in refusals:
            continue
        try:
            specs[run] = _spec(run)
        except AnswerFailed as refusal:
            refusals[run] = refusal
    if not refusals:
        return list(specs.items())
    _refuse(room, {run: each for run, each in refusals.items() if run.parent_call_id is None})
    running = Run.objects.filter(pk__in=[run.pk for run in runs], state=RunState.RUNNING)
    left = set(running.values_list("pk", flat=True))
    _refuse(room, {run: each for run, each in refusals.items() if run.pk in left})
    return [(run, spec) for run, spec in specs.items() if run.pk in left]


def _refuse(room: Room, refusals: Mapping[Run, AnswerFailed]) -> None:
    """Fail runs; an earlier attempt may have published text, which the failed answer keeps."""
    for run, refusal in refusals.items():
        earlier = run.answer_id and delta_store().close(run.answer_id, run.attempt - 1)
        end_runs(room, {run: refusal}, parse((earlier or "").rstrip()))


def _spec(run: Any) -> PersonaSpec:  # Any: the run has an annotation of `lock_runs`
    """Return the persona of a run; the steps that give a demo persona a model end in the room."""
    spec = build_spec(run.persona, asker=run.requested_by_id, has_tools=run.has_tools)
    tools = led.tools_for(run, spec.tools)
    spec = spec if tools == spec.tools else replace(spec, tools=tools)
    if not spec.connect_url:
        return spec
    room = reverse("rooms:room", args=[run.room_id])
    return replace(spec, connect_url=f"{spec.connect_url}?next={room}")


@dataclass(frozen=True, slots=True)
class _Started:
    """The runs of a start, their answers that are not stored yet, and the roots of these answers.

    The roots have the summaries that are stored, with all answers before.
    """

    runs: Sequence[Run]
    answers: list[Message] = field(default_factory=list)
    roots: dict[UUID, Message] = field(default_factory=dict)

    def root_of_answer(self, run: Run) -> Message | None:
        """Return the root of the thread in which a run answers, None if it answers in the room."""
        if run.thread is None:
            return None
        if run.thread not in self.roots:
            self.roots[run.thread] = replies.get_root(run.thread)
        return self.roots[run.thread]


def _place(answer: Message, run: Run, started: _Started) -> list[DurableEvent]:
    """Put a new answer at the end of the room or of a thread, or in the place of another version.

    Return the events.
    """
    run.answer = answer
    if run.replaces is not None:
        old = _replace(run.replaces, answer, started)
        created = MessageCreated(message_body(answer, run))
        return [created, MessageUpdated(message_body(old, old.answered_by))]
    answer.thread_root = root = started.root_of_answer(run)
    answer.in_room = root is None
    started.answers.append(answer)
    created = MessageCreated(message_body(answer, run))
    return [created] if root is None else [created, replies.add_reply(root, answer)]


def _new_answer(room: Room, run: Run, seq: int) -> Message:
    return Message(
        room=room,
        seq=seq,
        persona=run.persona,
        author_kind=AuthorKind.PERSONA,
        author_name=run.persona.name,
        author_handle=run.persona.handle,
        reply_to_id=run.message_id,
        status=MessageStatus.STREAMING,
        persona_version=run.persona.version,
    )


def _replace(version: UUID, new: Message, started: _Started) -> Message:
    """Store a new answer in the place of the version that it replaces; return that version.

    A pin and the thread move to the new answer; reactions and votes stay. Members who have read the
    old version have read the new one, too.
    """
    insert(*started.answers)  # they may be replies in the thread
    started.answers.clear()
    started.roots.clear()
    # The root before its followers, as all that lock both: a reader may be marking the thread read.
    versions = Message.objects.select_for_update(of=("self",), no_key=True)
    old = versions.select_related("answered_by").get(pk=version)
    unread.remove_mentions(old)
    replies.move_thread(old, new)
    for run in started.runs:  # as `move_thread` does in the database
        if run.thread == old.pk:
            run.thread = new.pk
        if run.message.thread_root_id == old.pk:
            run.message.thread_root_id = new.pk
    RoomSummary.objects.drop_covering(new.room, [old])
    old.seq, new.seq = new.seq, old.seq
    new.thread_root_id, new.in_room = old.thread_root_id, old.in_room
    old.replaced_by, new.replaces = new.pk, old.pk
    new.answer_version = old.answer_version + 1
    for name in _PIN:
        setattr(new, name, getattr(old, name))
        setattr(old, name, None)
    old.capped_at = None
    old.save(update_fields=["seq", "replaced_by", "capped_at", *_PIN, *replies.SUMMARY])
    insert(new)
    return old


def _job(
    reading: RoomReading,
    run: Run,
    answer: Message,
    spec: PersonaSpec,
    *,
    lines: Sequence[Steer],
    past: Sequence[PastRequest],
    base: int,
) -> Job:
    assert run.started_at is not None, "the start has set it"
    told = context.conversation(run, reading)
    return Job(
        run=run.pk,
        team=run.team_id,
        room=run.room_id,
        message=answer.pk,
        owner=run.lease_owner,
        attempt=run.attempt,
        base=base,
        spec=spec,
        turns=[*told.turns, *accepted_lines.as_turns(lines)],
        surroundings=told.room,
        started_at=run.started_at,
        from_seq=told.from_seq,
        past=past,
        spent=trees.spent(run),
        waited=_waited(run),
    )


_SET_STARTED: Final = PreparedUpdate(
    lambda run, answer, started_at: (
        Run.objects.filter(pk=run),
        {"answer": answer, "started_at": started_at},
    ),
    run=UUIDField(),
    answer=UUIDField(),
    started_at=DateTimeField(),
)


def _waited(run: Run) -> float:
    """Return the seconds from queuing to the claim; both times are of the database's clock."""
    if run.lease_until is None:
        return 0.0
    return max(0.0, (run.lease_until - queue.LEASE - run.queued_at).total_seconds())


def complete(job: Job, text: str, usage: Usage | None) -> bool:
    """Complete a run with the whole text of its answer, and queue what the answer asks for.

    Return False, and change nothing, if there are accepted steering lines: they were posted after
    the worker asked for lines, and the answer must go on. Raises LeaseLost.
    """
    return _end(job, Completed(usage), text)


def seconds_since_stop(job: Job) -> float | None:
    """Return how long ago another process has stopped this attempt; None if it has not."""
    stopped = Run.objects.filter(pk=job.run, attempt=job.attempt, state__in=STOPPED)
    row = stopped.annotate(now=Now()).values_list("now", "ended_at").first()
    return None if row is None or row[1] is None else (row[0] - row[1]).total_seconds()


def restore_text(job: Job, published: str) -> None:
    """Give a stopped answer the text that its worker has published, if its end has stored less.

    The process that stops a run reads the text from the delta store, which may be unavailable or
    may have lost deltas. `published` must have no text that was published after the stop.
    """
    written = parse(published.rstrip())
    with transaction.atomic():
        room = Room.objects.locked().filter(pk=job.room, deleted_at=None).first()
        stopped = Run.objects.filter(pk=job.run, attempt=job.attempt, state__in=STOPPED)
        run = (
            stopped.filter(answer=job.message, answer__deleted_at=None)
            .select_related("answer")
            .first()
        )
        answer = run.answer if run else None
        if room is None or answer is None or len(written.text) <= len(answer.text):
            return
        handles = cache(room.handles)
        rendered = written.in_room(handles)
        answer.text, answer.html = written.text, rendered.html
        answer.save(update_fields=["text", "html"])
        mentioned = unread.add_mentions(answer, rendered.mentioned, handles)
        replies.follow_as_mentioned(answer, mentioned)
        record(room, MessageUpdated(message_body(answer, run)))


def fail(job: Job, failure: AnswerFailed, text: str) -> None:
    """Fail a run; `text` is the published part of its answer. Raises LeaseLost."""
    _end(job, failure, text)


def _end(job: Job, reason: Reason, text: str) -> bool:
    written = parse(text.rstrip())  # before the transaction: no post waits for the room lock
    with transaction.atomic():
        room, run = leases.lock_owned(job.run, job.owner, job.attempt)
        if isinstance(reason, Completed) and run.is_steered:
            return False
        end_runs(room, {run: reason}, written)
        if isinstance(reason, Completed):
            chains.go_on(room, run, written)
    return True
