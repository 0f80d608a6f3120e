"""Summaries of rooms in the database: queued, claimed, written, and dropped.

The messages that no longer fit into the turns of a model are summarized in versions: each one is
made of the version before and of the messages since. No run waits for a summary. A worker that
dies loses its lease, and another worker writes the same summary; it is stored once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from accounts.names import tell_apart
from agents.engine_types import AnswerFailed, PersonaSpec, Summary, Turn, Usage
from agents.services import build_spec
from rooms.models import (
    AuthorKind,
    Message,
    MessageStatus,
    Room,
    RoomPersona,
    RoomSummary,
    Run,
    RunState,
    SummaryState,
)
from rooms.runs.lifecycle import Job
from rooms.runs.prompts.budget import Budget

MIN_TURNS: Final = 20
"""A version is queued when this many messages are neither in a prompt nor in the summary."""
MAX_READ: Final = 400
"""The newest messages of which one version is made, within the budget of a prompt. Older ones are
in no summary: a room that is summarized for the first time may have thousands."""
MAX_LENGTH: Final = 4_000
LEASE: Final = timedelta(seconds=90)
MAX_ATTEMPTS: Final = 3
PAUSE: Final = timedelta(hours=1)
"""After a version that failed, the room gets no other one for this long."""
RETENTION: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Task:
    """A summary that a worker has claimed, with all that it is made of. No attribute is a model.

    `read` has the texts of the messages by their ids, as they were when the task was made, and
    `passed_over` the answers that had not ended then.
    """

    id: UUID
    room: UUID
    attempt: int
    owner: str
    spec: PersonaSpec
    base: Summary | None
    turns: list[Turn]
    read: dict[UUID, str]
    passed_over: Sequence[UUID]


def request(jobs: Sequence[Job]) -> bool:
    """Queue summaries for the rooms of runs that have just started; return True if one is queued.

    Does nothing for demo personas, for rooms that want no summary, and while one is queued.
    """
    queued = [_request(job) for job in jobs]
    return any(queued)


def _request(job: Job) -> bool:
    summary = job.surroundings.summary
    covered = summary.up_to_seq if summary else 0
    if job.spec.kind == "demo" or job.from_seq is None or job.from_seq - 1 <= covered:
        return False
    # Each message has a seq of its own, so this is cheaper than to count them.
    is_short = job.from_seq - covered <= MIN_TURNS
    if is_short and not _has_late_answer(summary, job.from_seq):
        return False
    wanted = Room.objects.filter(pk=job.room, summarizes=True, archived_at=None, deleted_at=None)
    if not wanted.exists():
        return False
    paused = Q(state=SummaryState.FAILED, created_at__gt=timezone.now() - PAUSE)
    unended = Q(state=SummaryState.QUEUED)
    if RoomSummary.objects.filter(unended | paused, room=job.room).exists():
        return False
    until = job.from_seq - 1
    lost = Message.objects.of_room().filter(room=job.room, seq__gt=covered, seq__lte=until)
    is_short = is_short or lost.exclude(text="")[:MIN_TURNS].count() < MIN_TURNS
    if is_short and not _has_late_answer(summary, job.from_seq):
        return False
    persona = Run.objects.filter(pk=job.run).values_list("persona_id", flat=True)[0]
    row = RoomSummary(room_id=job.room, up_to_seq=until, persona_id=persona, model=job.spec.model)
    # Another worker may have queued one since: `summary_queued_once`.
    RoomSummary.objects.bulk_create([row], ignore_conflicts=True)
    return True


def _has_late_answer(summary: Summary | None, before: int) -> bool:
    """Return True if an answer before the turns has ended that a summary has passed over."""
    passed = RoomSummary.objects.filter(pk=summary.id) if summary else RoomSummary.objects.none()
    ids = [UUID(each) for of in passed.values_list("passed_over", flat=True) for each in of]
    return bool(ids) and _ended(Message.objects.filter(pk__in=ids, seq__lt=before)).exists()


def _unfinished(row: RoomSummary, base: RoomSummary | None) -> list[UUID]:
    """Return the answers up to the end of a version that have not ended, and are in no version.

    A version that ended before such an answer would leave out all that is said while it waits.
    """
    answers = Message.objects.filter(answered_by__in=Run.objects.active(), room=row.room_id)
    since = Q(seq__gt=base.up_to_seq if base else 0, in_room=True)
    since |= Q(pk__in=base.passed_over if base else ())
    return list(answers.filter(since, seq__lte=row.up_to_seq).values_list("pk", flat=True))


def _ended(messages: QuerySet[Message]) -> QuerySet[Message]:
    return messages.exclude(status=MessageStatus.STREAMING).exclude(text="")


def claim(owner: str) -> Task | None:
    """Claim the oldest queued summary; None without one. A room whose team has queued runs waits.

    A summary that cannot be made fails: its room or persona is gone, or has been tried too often.
    """
    while True:
        with transaction.atomic():
            row = _claimable().select_for_update(skip_locked=True, of=("self",)).first()
            if row is None:
                return None
            row.attempt += 1
            task = _task(row, owner) if row.attempt <= MAX_ATTEMPTS else None
            row.state = SummaryState.QUEUED if task else SummaryState.FAILED
            row.lease_owner = owner if task else ""
            row.save(update_fields=["attempt", "state", "lease_owner"])
            RoomSummary.objects.filter(pk=row.pk).update(lease_until=Now() + LEASE)
        if task is not None:
            return task


def _claimable() -> QuerySet[RoomSummary]:
    free = Q(lease_until=None) | Q(lease_until__lt=Now())
    waiting = Run.objects.filter(team=OuterRef("room__team"), state=RunState.QUEUED)
    queued = RoomSummary.objects.filter(free, state=SummaryState.QUEUED)
    return queued.exclude(Exists(waiting)).order_by("created_at")


def _task(row: RoomSummary, owner: str) -> Task | None:
    room = Room.objects.filter(
        pk=row.room_id, summarizes=True, archived_at=None, deleted_at=None, team__deleted_at=None
    ).first()
    bound = RoomPersona.objects.filter(room=row.room_id, persona=row.persona_id)
    binding = bound.select_related("persona__connection").filter(persona__enabled=True).first()
    if room is None or binding is None:
        return None
    try:
        spec = build_spec(binding.persona)
    except AnswerFailed:
        return None
    written = RoomSummary.objects.written().filter(room=room, up_to_seq__lt=row.up_to_seq)
    base = written.order_by("-up_to_seq").first()
    passed_over = _unfinished(row, base)  # first: one that ends now is in both, and not in neither
    messages = _messages(row, base)
    return Task(
        id=row.pk,
        room=room.pk,
        attempt=row.attempt,
        owner=owner,
        spec=spec,
        base=Summary(base.pk, base.up_to_seq, base.text) if base else None,
        turns=_turns(messages),
        read={message.pk: message.text for message in messages},
        passed_over=passed_over,
    )


def _messages(row: RoomSummary, base: RoomSummary | None) -> list[Message]:
    """Return the newest messages that fit, oldest first, and answers that `base` has passed over.

    No later version would have these answers, so they are taken first.
    """
    of_room = Message.objects.of_room().filter(room=row.room_id, seq__lte=row.up_to_seq)
    late = _ended(of_room.filter(pk__in=base.passed_over if base else ())).order_by("-seq")
    since = _ended(of_room.filter(seq__gt=base.up_to_seq if base else 0)).order_by("-seq")
    budget = Budget(turns=MAX_READ)
    newest_first = [*budget.take(late), *budget.take(since[:MAX_READ])]
    return sorted(newest_first, key=lambda message: message.seq)


def _turns(messages: Sequence[Message]) -> list[Turn]:
    labels = tell_apart(
        {
            (_speaker(message), message.author_name): (message.author_name, message.author_handle)
            for message in messages
        }
    )
    return [
        Turn(
            author=labels[_speaker(message), message.author_name],
            kind="user" if message.author_kind == AuthorKind.USER else "persona",
            own=False,
            text=message.text,
        )
        for message in messages
    ]


def _speaker(message: Message) -> tuple[str, UUID | str]:
    author = message.user_id or message.persona_id or message.author_handle
    return message.author_kind, author


@transaction.atomic
def store(task: Task, text: str, usage: Usage | None) -> bool:
    """Store a written summary; return False if it must not be stored.

    A message that it covers was deleted or edited, the version before was dropped, or another
    worker has claimed it. The tokens are counted nevertheless.
    """
    room = Room.objects.locked().filter(pk=task.room).first()
    if room is None:
        return False
    now = dict(Message.objects.filter(pk__in=list(task.read)).values_list("pk", "text"))
    base_is_kept = task.base is None or (
        RoomSummary.objects.written().filter(pk=task.base.id).exists()
    )
    is_true = base_is_kept and now == task.read
    state = SummaryState.WRITTEN if is_true else SummaryState.DROPPED
    return bool(
        _owned(task).update(
            state=state,
            text=text[:MAX_LENGTH] if is_true else "",
            passed_over=[str(answer) for answer in task.passed_over],
            written_at=timezone.now(),
            lease_owner="",
            lease_until=None,
            **_tokens(usage),
        )
        and is_true
    )


def fail(task: Task, usage: Usage | None) -> None:
    """End a summary that could not be written."""
    _owned(task).update(
        state=SummaryState.FAILED, lease_owner="", lease_until=None, **_tokens(usage)
    )


def _owned(task: Task) -> QuerySet[RoomSummary]:
    return RoomSummary.objects.filter(
        pk=task.id, state=SummaryState.QUEUED, lease_owner=task.owner, attempt=task.attempt
    )


def _tokens(usage: Usage | None) -> dict[str, int]:
    if usage is None:
        return {}
    return {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}


def purge_summaries() -> int:
    """Remove the summaries that no prompt shows any more; return their number.

    The newest ones of a room are kept: they are the summary, and what it falls back to.
    """
    newer = RoomSummary.objects.written().filter(
        room=OuterRef("room"), up_to_seq__gt=OuterRef("up_to_seq")
    )
    ended = RoomSummary.objects.exclude(state=SummaryState.QUEUED)
    old = ended.filter(created_at__lt=timezone.now() - RETENTION)
    return old.exclude(~Exists(newer), state=SummaryState.WRITTEN).delete()[0]
