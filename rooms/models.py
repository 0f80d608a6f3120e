"""Rooms, their members, messages, runs and events; the quotas of teams; the workers."""

from __future__ import annotations

import sys
from typing import ClassVar, Final, Self

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.ids import new_id
from accounts.mfa import mfa_enabled
from accounts.models import Invitation, Team, User
from accounts.roles import ObjectPermission
from agents.models import Persona


class Privacy(models.TextChoices):
    PRIVATE = "private", _("Private: only people who are added")
    TEAM = "team", _("Open: everyone in the team can join")


class AnswerPolicy(models.TextChoices):
    """Which personas answer a message whose author has not selected personas."""

    DEFAULT = "default", _("The default persona answers, unless other personas are mentioned")
    MENTION = "mention", _("Only mentioned personas answer")
    THREAD = "thread", _("Mentioned personas answer, and keep answering in their threads")
    OFF = "off", _("No persona answers")


class RoomRole(models.TextChoices):
    OWNER = "owner", _("Owner")
    MODERATOR = "moderator", _("Moderator")
    MEMBER = "member", _("Member")
    READER = "reader", _("Reader")


class RoomQuerySet(models.QuerySet["Room"]):
    def visible_to(self, user: User) -> Self:
        """Filter to the rooms that the user is in and the scope of the credential allows."""
        mine = RoomPermission.objects.filter(user_id=user.pk, permission__codename="view")
        rooms = self.filter(pk__in=mine.values("content_object"), team__deleted_at=None)
        rooms = rooms.filter(models.Q(team__require_mfa=False) | models.Q(mfa_enabled(user.pk)))
        return rooms.filter(team=user.scope.team_id) if user.scope.team_id else rooms

    def locked(self) -> Self:
        """Lock the rooms until the transaction ends.

        With `no_key` (FOR NO KEY UPDATE in PostgreSQL): inserting a row that references a room
        needs a key share lock on it, and that transaction may hold the lock of the audit log, for
        which this transaction waits later.
        """
        return self.select_for_update(of=("self",), no_key=True)

    def open_to_team(self) -> Self:
        """Filter to the rooms that all members of their team may join, except guests."""
        return self.filter(privacy=Privacy.TEAM, archived_at=None, deleted_at=None)


class Room(models.Model):
    """A conversation of users and personas of one team."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="rooms")
    name = models.CharField(_("name"), max_length=80)
    topic = models.CharField(_("topic"), max_length=250, blank=True)
    privacy = models.CharField(_("privacy"), max_length=8, choices=Privacy, default=Privacy.PRIVATE)
    answer_policy = models.CharField(
        _("who answers"), max_length=8, choices=AnswerPolicy, default=AnswerPolicy.DEFAULT
    )
    default_persona = models.ForeignKey(
        Persona, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    personas = models.ManyToManyField(Persona, through="RoomPersona", related_name="rooms")
    last_seq = models.PositiveBigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    archived_at = models.DateTimeField(null=True, editable=False)
    deleted_at = models.DateTimeField(null=True, editable=False)  # without members; see purge_rooms
    # Without active members since then; see rooms.services.owners.
    abandoned_at = models.DateTimeField(null=True, editable=False)

    objects = RoomQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        permissions: ClassVar = [
            ("view", "See the room"),
            ("post", "Write in the room"),
            ("moderate", "Stop anybody's answer in the room"),
            ("manage", "Change the room, its people and its personas"),
        ]

    def __str__(self) -> str:
        return self.name

    def handles(self) -> set[str]:
        """Return the handles of the room's members and personas; one query."""
        members = self.members.active().values_list("user__handle", flat=True)
        personas = self.personas.order_by().values_list("handle", flat=True)
        return set(members.union(personas))


class RoomPermission(ObjectPermission):
    """A permission that a user has in a room; `rooms.permissions` reads this table."""

    content_object = models.ForeignKey(Room, on_delete=models.CASCADE)


class RoomMemberQuerySet(models.QuerySet["RoomMember"]):
    def active(self) -> Self:
        """Filter to the members with access: `accounts.models.active_member` in the room's team.

        `suspended` repeats here that the member is suspended in the team.
        """
        return self.filter(suspended=False, user__is_active=True)


class RoomMember(models.Model):
    """A user in a room, with a role and a read position."""

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="members")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="room_memberships")
    role = models.CharField(_("role"), max_length=9, choices=RoomRole, default=RoomRole.MEMBER)
    read_seq = models.PositiveBigIntegerField(default=0)
    joined_at = models.DateTimeField(default=timezone.now, editable=False)
    suspended = models.BooleanField(default=False, editable=False)

    objects = RoomMemberQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["room", "user"], name="room_member_once"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role} of {self.room_id}"


class InvitedRoom(models.Model):
    """A room that a user also joins by accepting an invitation to the team."""

    invitation = models.ForeignKey(Invitation, on_delete=models.CASCADE, related_name="rooms")
    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="+")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["invitation", "room"], name="invited_room_once"),
        ]

    def __str__(self) -> str:
        return f"{self.invitation_id} into {self.room_id}"


class RoomPersona(models.Model):
    """A persona that is bound to a room. The lowest id was bound first."""

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="bindings")
    persona = models.ForeignKey(Persona, on_delete=models.CASCADE, related_name="bindings")

    class Meta:
        ordering = ("pk",)
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["room", "persona"], name="room_persona_once"),
        ]

    def __str__(self) -> str:
        return f"{self.persona_id} in {self.room_id}"


class AllowedRoom(models.Model):
    """A room that a confined persona may be bound to."""

    persona = models.ForeignKey(Persona, on_delete=models.CASCADE, related_name="allowed_rooms")
    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="+")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["persona", "room"], name="allowed_room_once"),
        ]

    def __str__(self) -> str:
        return f"{self.persona_id} in {self.room_id}"


class MessageStatus(models.TextChoices):
    COMPLETE = "complete"
    STREAMING = "streaming"
    FAILED = "failed"
    CANCELLED = "cancelled"


class AuthorKind(models.TextChoices):
    USER = "user"
    PERSONA = "persona"


class Message(models.Model):
    """A message of a user, or an answer of a persona, which a run writes.

    `seq` is the seq of the `message.created` event and orders the messages of a room. The `text` of
    a streaming answer is empty: its deltas are in the delta store until the run ends. A deleted
    message keeps its seq and has no text.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="messages")
    seq = models.PositiveBigIntegerField()
    user = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    # No constraint: the message keeps the id of its author when the persona is deleted.
    persona = models.ForeignKey(
        Persona, null=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    author_kind = models.CharField(max_length=7, choices=AuthorKind)
    author_name = models.CharField(max_length=40)
    author_handle = models.CharField(max_length=40)
    text = models.TextField(blank=True)
    html = models.TextField(blank=True)
    reply_to = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="+")
    client_id = models.UUIDField(null=True)
    status = models.CharField(max_length=9, choices=MessageStatus, default=MessageStatus.COMPLETE)
    created_at = models.DateTimeField(default=timezone.now)
    edited_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)
    # Maps an emoji to the ids of users; changed under the lock of the room.
    reactions = models.JSONField(default=dict)

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["room", "seq"], name="message_seq_once"),
            models.UniqueConstraint(
                fields=["room", "user", "client_id"],
                condition=models.Q(client_id__isnull=False),
                name="message_sent_once",
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)


class RunState(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ACTIVE: Final = (RunState.QUEUED, RunState.RUNNING)
"""The states of a run that has not ended."""


class RunQuerySet(models.QuerySet["Run"]):
    def active(self) -> Self:
        """Filter to the runs that have not ended."""
        return self.filter(state__in=ACTIVE)


class Run(models.Model):
    """The work of one persona on one message, which writes one answer. The table is the queue.

    A worker (`lease_owner`) owns a running run until `lease_until`. `attempt` is the fencing token:
    a write under an older attempt is refused.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="runs")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="runs")
    answer = models.OneToOneField(
        Message, null=True, on_delete=models.SET_NULL, related_name="answered_by"
    )
    # No constraint: usage and errors are kept when the persona is deleted.
    persona = models.ForeignKey(
        Persona, on_delete=models.DO_NOTHING, db_constraint=False, related_name="runs"
    )
    requested_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    stopped_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    language = models.CharField(max_length=8, default="en")
    state = models.CharField(max_length=9, choices=RunState, default=RunState.QUEUED)
    attempt = models.PositiveIntegerField(default=0)
    lease_owner = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField(null=True)
    error_code = models.CharField(max_length=32, blank=True)
    error_detail = models.CharField(max_length=400, blank=True)
    input_tokens = models.PositiveIntegerField(null=True)
    output_tokens = models.PositiveIntegerField(null=True)
    queued_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        indexes: ClassVar = [
            # Not partial: SQLite uses a partial index only if the state is a literal in the query.
            models.Index(fields=["team", "state", "queued_at", "id"], name="run_queue"),
            models.Index(fields=["state", "lease_until"], name="run_leases"),
            models.Index(
                fields=["room"],
                condition=models.Q(state__in=["queued", "running"]),
                name="run_open_in_room",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pk} {self.state}"


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


class RoomEvent(models.Model):
    """A durable event of a room; `payload` is its JSON frame.

    `message` is the id of the message whose text is in the payload, so that it can be redacted.
    """

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="events")
    seq = models.PositiveBigIntegerField()
    type = models.CharField(max_length=32)
    payload = models.TextField()
    message = models.UUIDField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(
                fields=["message"],
                condition=models.Q(message__isnull=False),
                name="room_event_of_message",
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["room", "seq"], name="room_event_seq_once"),
        ]

    def __str__(self) -> str:
        return f"{self.room_id} {self.seq} {self.type}"
