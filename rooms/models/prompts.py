"""What models were sent, and summaries of what no longer fits into what they are sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Self

from django.db import models
from django.utils import timezone

from accounts.ids import new_id
from agents.models import Persona
from rooms.models.messages import Message
from rooms.models.rooms import Room
from rooms.models.runs import Run


class RunPrompt(models.Model):
    """What an attempt of a run has sent to the model first, without secrets.

    `content` is compressed JSON, see `rooms.runs.prompts.recorder`. It names the messages and the
    summary that the prompt quotes, and has no copy of their texts: a deletion or an edit of a
    message needs no change here. `request` is the number of the run's request (`ModelRequest`) with
    which the attempt has begun. Kept for 30 days.
    """

    run = models.ForeignKey(Run, models.CASCADE, db_index=False, related_name="prompts")
    attempt = models.PositiveIntegerField()
    request = models.PositiveSmallIntegerField(default=0)
    content = models.BinaryField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "attempt"], name="run_prompt_once"),
        ]
        indexes: ClassVar = [models.Index(fields=["created_at"], name="run_prompt_by_age")]

    def __str__(self) -> str:
        return f"{self.run_id} attempt {self.attempt}"


class SummaryState(models.TextChoices):
    QUEUED = "queued"
    WRITTEN = "written"
    FAILED = "failed"
    DROPPED = "dropped"


class RoomSummaryQuerySet(models.QuerySet["RoomSummary"]):
    def written(self) -> Self:
        """Filter to the summaries that have a text."""
        return self.filter(state=SummaryState.WRITTEN)

    def current(self) -> RoomSummary | None:
        """Return the summary of a room that has written ones; for `room.summaries`."""
        return self.written().order_by("-up_to_seq").first()

    def tokens(self) -> tuple[int, int]:
        """Return the tokens that these summaries were made of, and those that they have."""
        used = self.aggregate(given=models.Sum("input_tokens"), made=models.Sum("output_tokens"))
        return used["given"] or 0, used["made"] or 0

    def drop_covering(self, room: Room, messages: Iterable[Message]) -> None:
        """Drop the summaries that cover messages which are deleted, edited or replaced; one query.

        The caller's transaction has locked the room. The version before that does not cover them is
        the summary again, and the next one is made of it. No query for replies of threads.
        """
        seqs = [message.seq for message in messages if message.in_room]
        if seqs:
            self.drop_after(room, min(seqs) - 1)

    def drop_after(self, room: Room, seq: int) -> None:
        """Drop the summaries that cover messages after `seq`."""
        kept = (SummaryState.QUEUED, SummaryState.WRITTEN)
        covering = self.filter(room=room, up_to_seq__gt=seq, state__in=kept)
        covering.update(state=SummaryState.DROPPED, text="")


class RoomSummary(models.Model):
    """A version of the summary of a room: its messages up to `up_to_seq`, without threads.

    `passed_over` has the ids of the answers in this range that had not ended, because they wait for
    people, for example. The next version has those that have ended since.
    The table is also the queue: a room has at most one queued summary. A worker (`lease_owner`)
    writes it until `lease_until`; `attempt` is the fencing token. If a message that it covers is
    deleted or edited, its text is removed in the same transaction, and the version before it that
    does not cover the message is the summary again.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    room = models.ForeignKey(
        Room, on_delete=models.CASCADE, db_index=False, related_name="summaries"
    )
    up_to_seq = models.PositiveBigIntegerField()
    passed_over = models.JSONField(default=list, db_default=[])
    text = models.TextField(blank=True)
    state = models.CharField(max_length=7, choices=SummaryState, default=SummaryState.QUEUED)
    # The persona whose connection and model write it. No constraint: the usage is kept.
    persona = models.ForeignKey(
        Persona, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    model = models.CharField(max_length=200, blank=True)
    input_tokens = models.PositiveIntegerField(null=True)
    output_tokens = models.PositiveIntegerField(null=True)
    attempt = models.PositiveSmallIntegerField(default=0)
    lease_owner = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    written_at = models.DateTimeField(null=True)

    objects = RoomSummaryQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["room"], condition=models.Q(state="queued"), name="summary_queued_once"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["room", "up_to_seq"], name="summary_of_room"),
            models.Index(
                fields=["created_at"], condition=models.Q(state="queued"), name="summary_queued"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.room_id} up to {self.up_to_seq}"
