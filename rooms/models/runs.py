"""Runs, which are also the queue; the quotas of teams; the workers."""

from __future__ import annotations

import sys
from typing import ClassVar, Final, Self

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.ids import new_id
from accounts.models import Team, User
from agents.models import Persona
from rooms import indexes
from rooms.models.messages import Message
from rooms.models.rooms import Room


class RunState(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Why(models.TextChoices):
    """The rule by which a persona was asked; see `rooms.runs.responders`."""

    NAMED = "named"
    MENTION = "mention"
    REPLY = "reply"
    THREAD = "thread"
    POLICY = "policy"
    RETRY = "retry"
    ROUND = "round"
    LED = "led"


ACTIVE: Final = (RunState.QUEUED, RunState.RUNNING, RunState.WAITING)
"""The states of a run that has not ended."""


class RunQuerySet(models.QuerySet["Run"]):
    def active(self) -> Self:
        """Filter to the runs that have not ended."""
        return self.filter(state__in=ACTIVE)


class Run(models.Model):
    """The work of one persona on one message, which writes one answer. The table is the queue.

    A worker (`lease_owner`) owns a running run until `lease_until`. `attempt` is the fencing token:
    a write under an older attempt is refused. A waiting run waits for people, or for the runs that
    it has asked for; no worker owns it. `resumed` counts the attempts that ended by waiting.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    room = models.ForeignKey(Room, models.CASCADE, db_index=False, related_name="runs")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="runs")
    answer = models.OneToOneField(
        Message, null=True, on_delete=models.SET_NULL, related_name="answered_by"
    )
    # The answer of which this run writes a new version.
    replaces = models.UUIDField(null=True)
    # No constraint: usage and errors are kept when the persona is deleted.
    persona = models.ForeignKey(
        Persona, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="runs"
    )
    requested_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    stopped_by = models.ForeignKey(
        User, models.SET_NULL, null=True, db_index=False, related_name="+"
    )
    # The root of the thread in which the answer is or will be; None for an answer in the room.
    thread = models.UUIDField(null=True)
    language = models.CharField(max_length=8, default="en")
    # The message at which a chain of answers began; null for the answers to that message itself.
    # See rooms.runs.chains.
    origin = models.ForeignKey(
        Message, models.SET_NULL, null=True, db_index=False, related_name="+"
    )
    # The database has the default, too: processes of the version before insert runs during an
    # upgrade.
    why = models.CharField(
        max_length=8, choices=Why, default=Why.POLICY, db_default=Why.POLICY.value
    )
    state = models.CharField(max_length=9, choices=RunState, default=RunState.QUEUED)
    attempt = models.PositiveIntegerField(default=0)
    resumed = models.PositiveIntegerField(default=0, db_default=0)
    # The round of which this run is a step; see rooms.runs.crews.
    round = models.ForeignKey(
        "rooms.Round", models.SET_NULL, null=True, db_index=False, related_name="runs"
    )
    # The persona may ask others before it answers, without a rule of its own for that.
    leads = models.BooleanField(default=False, db_default=False)
    # The call by which another run has asked for this one.
    parent_call = models.ForeignKey(
        "rooms.ToolCall", models.SET_NULL, null=True, db_index=False, related_name="children"
    )
    lease_owner = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField(null=True)
    error_code = models.CharField(max_length=32, blank=True)
    # The sentence of the failure is worded when it is shown: see rooms.protocol.failures.
    error_reason = models.CharField(max_length=32, blank=True, default="", db_default="")
    error_persona = models.CharField(max_length=40, blank=True, default="", db_default="")
    input_tokens = models.PositiveIntegerField(null=True)
    output_tokens = models.PositiveIntegerField(null=True)
    queued_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        indexes: ClassVar = indexes.OF_RUNS

    def __str__(self) -> str:
        return f"{self.pk} {self.state}"

    @property
    def is_steered(self) -> bool:
        """True if the run has accepted steering lines; `rooms.runs.leases` has locked the run."""
        return bool(vars(self)["has_accepted_lines"])


class TeamQuota(models.Model):
    """The limits on running and queued runs of a team, and the time of the team's last claim.

    None stands for the limit of the server's settings. A claim locks the row.
    """

    team = models.OneToOneField(
        Team, primary_key=True, on_delete=models.CASCADE, related_name="+", verbose_name=_("team")
    )
    served_at = models.DateTimeField(_("served"), null=True, editable=False)
    runs_per_user = models.PositiveIntegerField(_("at once of one person"), null=True, blank=True)
    runs_per_room = models.PositiveIntegerField(_("at once in one room"), null=True, blank=True)
    runs_per_team = models.PositiveIntegerField(_("at once in the team"), null=True, blank=True)
    queued_per_user = models.PositiveIntegerField(_("waiting of one person"), null=True, blank=True)
    queued_per_room = models.PositiveIntegerField(_("waiting in one room"), null=True, blank=True)
    queued_per_team = models.PositiveIntegerField(_("waiting in the team"), null=True, blank=True)

    class Meta:
        verbose_name = _("team quota")
        verbose_name_plural = _("team quotas")

    def __str__(self) -> str:
        return str(self.team)

    def limit(self, name: str) -> int:
        """Return the team's limit, else the server's; unlimited without MARU_RATE_LIMITS."""
        if not settings.RATE_LIMITS:
            return sys.maxsize
        own: int | None = getattr(self, name)
        return settings.RUN_BOUNDS[name] if own is None else own


class Worker(models.Model):
    """A worker process, as of its last report. Its name does not contain the host name."""

    name = models.CharField(_("name"), max_length=64, primary_key=True)
    concurrency = models.PositiveIntegerField(_("answers at once"))
    running = models.PositiveIntegerField(_("running"), default=0)
    started_at = models.DateTimeField(_("started"), db_default=Now())
    seen_at = models.DateTimeField(_("seen"), db_default=Now())

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")

    def __str__(self) -> str:
        return self.name
