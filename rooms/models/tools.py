"""What a run has done between its first request to the model and its end: requests and calls."""

from __future__ import annotations

from typing import ClassVar, Final, Self

from django.db import models
from django.utils import timezone

from accounts.ids import new_id
from accounts.models import User
from agents.models import Deciders
from rooms.models.messages import Message
from rooms.models.runs import Run


class CallState(models.TextChoices):
    PROPOSED = "proposed"
    ASKED = "asked"
    ALLOWED = "allowed"
    DENIED = "denied"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Denial(models.TextChoices):
    """Why a call was denied without a decision of people."""

    CHANGED = "changed"
    """The definition of the tool is another one since the call was proposed."""
    NOT_ALLOWED = "not_allowed"
    """The persona may not use the tool, or not any more without asking."""
    NO_DECIDER = "no_decider"
    """No person may decide on the call."""
    EXPIRED = "expired"
    """No person has decided in time."""
    RUN_ENDED = "run_ended"
    """The run has ended first."""


OPEN_CALLS: Final = (CallState.PROPOSED, CallState.ASKED, CallState.ALLOWED, CallState.RUNNING)
"""The states of a call without a result."""


class ModelRequest(models.Model):
    """A request to the model that the run has not ended with: it asked for tools, or was steered.

    `number` counts from 0 in the run. `text` is what the model wrote before the calls.
    """

    run = models.ForeignKey(Run, models.CASCADE, db_index=False, related_name="requests")
    number = models.PositiveSmallIntegerField()
    text = models.TextField(blank=True)
    input_tokens = models.PositiveIntegerField(null=True)
    output_tokens = models.PositiveIntegerField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "number"], name="model_request_once"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id} request {self.number}"


class ToolCallQuerySet(models.QuerySet["ToolCall"]):
    def asked(self) -> Self:
        """Filter to the calls that ask for a decision. `tool_call_undecided` has only these."""
        return self.filter(state=CallState.ASKED, decided_at=None, expires_at__isnull=False)


class ToolCall(models.Model):
    """A tool call that the model has asked for in a request; its id is also that of its approval.

    It is stored before it is shown or executed. `call_id` is the model's id of it, `tool` the id of
    the tool (None: an invented one), `name` what the model called it. A decision is bound to
    `arguments_sha256`, and the execution to `definition_sha256`, the definition of the tool that
    the model had. A call that was running when its worker died is `unknown`. `denial` says why a
    call was denied or refused without a decision of people, if there is a reason. `short` is the
    result in words fit for all members; `result` is what the model gets.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    run = models.ForeignKey(Run, models.CASCADE, db_index=False, related_name="calls")
    request = models.PositiveSmallIntegerField()
    position = models.PositiveSmallIntegerField()
    call_id = models.CharField(max_length=200)
    tool = models.UUIDField(null=True)
    name = models.CharField(max_length=64)
    title = models.CharField(max_length=80)
    changes = models.BooleanField(default=True)
    idempotent = models.BooleanField(default=False)
    # The tool runs with the sign-in of the asker: no other person decides on it.
    personal = models.BooleanField(default=False)
    arguments = models.TextField(blank=True)
    arguments_sha256 = models.CharField(max_length=64)
    # Empty for our own tools, which change only with the code, and for calls of an older release.
    definition_sha256 = models.CharField(max_length=64, blank=True, default="", db_default="")
    # What the provider wants back with the call, as JSON.
    extra = models.TextField(blank=True)
    state = models.CharField(max_length=8, choices=CallState, default=CallState.PROPOSED)
    denial = models.CharField(max_length=12, choices=Denial, blank=True, default="", db_default="")
    # The last attempt that has begun the call; 0 if none has.
    attempt = models.PositiveIntegerField(default=0)
    deciders = models.CharField(max_length=10, choices=Deciders, default=Deciders.ASKER)
    # The ids of the users who could decide when the call was asked, as strings.
    asked_of = models.JSONField(default=list)
    expires_at = models.DateTimeField(null=True)
    decided_by = models.ForeignKey(
        User, models.SET_NULL, null=True, db_index=False, related_name="+"
    )
    decided_at = models.DateTimeField(null=True)
    note = models.CharField(max_length=400, blank=True)
    # The decision holds for later calls of the tool in this run.
    for_run = models.BooleanField(default=False)
    result = models.TextField(blank=True)
    short = models.CharField(max_length=200, blank=True)
    # Who has shown the result to the room.
    shown_by = models.ForeignKey(User, models.SET_NULL, null=True, db_index=False, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    ms = models.PositiveIntegerField(null=True)

    objects = ToolCallQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "request", "position"], name="tool_call_once"),
        ]
        indexes: ClassVar = [
            # `state` is in no index, so that the begin and the end of a call are HOT updates.
            models.Index(
                fields=["expires_at"],
                condition=models.Q(decided_at__isnull=True, expires_at__isnull=False),
                name="tool_call_undecided",
            ),
            models.Index(
                fields=["decided_by"],
                condition=models.Q(decided_by__isnull=False),
                name="tool_call_decided_by",
            ),
            models.Index(
                fields=["shown_by"],
                condition=models.Q(shown_by__isnull=False),
                name="tool_call_shown_by",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.state}"


class Quote(models.Model):
    """A message whose text is in the result of a tool call.

    It leads from a message that is deleted or edited to the results that have to be emptied.
    """

    pk = models.CompositePrimaryKey("call_id", "message_id")
    call = models.ForeignKey(ToolCall, models.CASCADE, db_index=False, related_name="quotes")
    message = models.ForeignKey(Message, models.CASCADE, db_index=False, related_name="+")

    class Meta:
        default_permissions = ()
        indexes: ClassVar = [models.Index(fields=["message"], name="quote_of_message")]

    def __str__(self) -> str:
        return f"{self.message_id} in {self.call_id}"
