"""Rooms, their members and their personas."""

from __future__ import annotations

from typing import ClassVar, Final, Self
from uuid import UUID

from django.core.validators import MaxValueValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.ids import new_id
from accounts.mfa import mfa_enabled
from accounts.models import Invitation, Team, User
from accounts.roles import ObjectPermission
from agents.models import Persona

MAX_PERSONA_TURNS: Final = 10


class Privacy(models.TextChoices):
    PRIVATE = "private", _("Private: only people who are added")
    TEAM = "team", _("Open: everyone in the team can join")


class AnswerPolicy(models.TextChoices):
    """Which personas answer a message whose author has not selected personas."""

    DEFAULT = "default", _("The default persona answers, unless other personas are mentioned")
    MENTION = "mention", _("Only mentioned personas answer")
    THREAD = "thread", _("Mentioned personas answer, and keep answering in their threads")
    OFF = "off", _("No persona answers")


class AnswersIn(models.TextChoices):
    """Where personas answer a message of the room. A message of a thread is answered there."""

    ROOM = "room", _("In the room, below the message")
    THREAD = "thread", _("In a thread of the message")


class RoomMode(models.TextChoices):
    """How personas answer a message that asks several of them."""

    EACH = "each", _("Each for itself, at the same time")
    ROUND = "round", _("In turn: each reads the answer before it")
    LED = "led", _("One persona leads and asks the others")


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

    def managed_by(self, user: User) -> Self:
        """Filter to the rooms visible to the user whose members the user may change."""
        mine = RoomPermission.objects.filter(user_id=user.pk, permission__codename="manage")
        return self.visible_to(user).filter(pk__in=mine.values("content_object"))

    def locked(self, *, skip_locked: bool = False) -> Self:
        """Lock the rooms until the transaction ends; leave out locked ones with `skip_locked`.

        With `no_key` (FOR NO KEY UPDATE in PostgreSQL): inserting a row that references a room
        needs a key share lock on it, and that transaction may hold the lock of the audit log, for
        which this transaction waits later.
        """
        return self.select_for_update(skip_locked=skip_locked, of=("self",), no_key=True)

    def open_to_team(self) -> Self:
        """Filter to the rooms that all members of their team may join, except guests."""
        return self.filter(privacy=Privacy.TEAM, archived_at=None, deleted_at=None)

    def joined_on_arrival(self, team_id: UUID) -> Self:
        """Filter to the rooms to which everyone who joins the team is added, except guests."""
        return self.open_to_team().filter(team=team_id, for_everyone=True)


class Room(models.Model):
    """A conversation of users and personas of one team. A direct room has no name of its own."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="rooms")
    name = models.CharField(_("name"), max_length=80)
    topic = models.CharField(_("topic"), max_length=250, blank=True)
    privacy = models.CharField(_("privacy"), max_length=8, choices=Privacy, default=Privacy.PRIVATE)
    # See rooms.services.direct. `direct_key` is None after one of its members has left the team.
    direct = models.BooleanField(default=False, db_default=False, editable=False)
    direct_key = models.CharField(max_length=64, null=True, editable=False)
    # The user who opened a direct room, to limit how many one user opens.
    opened_by = models.ForeignKey(
        User, models.SET_NULL, null=True, editable=False, related_name="+"
    )
    # Only open rooms have it; see rooms.services.people.arrivals.
    for_everyone = models.BooleanField(_("for everyone"), default=False, db_default=False)
    answer_policy = models.CharField(
        _("who answers"), max_length=8, choices=AnswerPolicy, default=AnswerPolicy.DEFAULT
    )
    answers_in = models.CharField(
        _("where personas answer"),
        max_length=8,
        choices=AnswersIn,
        default=AnswersIn.ROOM,
        db_default=AnswersIn.ROOM,
    )
    default_persona = models.ForeignKey(
        Persona, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    mode = models.CharField(
        _("several personas"),
        max_length=5,
        choices=RoomMode,
        default=RoomMode.EACH,
        db_default=RoomMode.EACH,
    )
    lead = models.ForeignKey(
        Persona, models.SET_NULL, null=True, blank=True, db_index=False, related_name="+"
    )
    # No user decides on a call that a persona makes for this user.
    other_decides = models.BooleanField(
        _("another person decides than the one who asked"), default=False, db_default=False
    )
    # The answers that personas may ask of each other after one message of a person.
    persona_turns = models.PositiveSmallIntegerField(
        _("answers between personas"),
        default=0,
        db_default=0,
        validators=[MaxValueValidator(MAX_PERSONA_TURNS)],
    )
    # See RoomSummary.
    summarizes = models.BooleanField(
        _("keep a summary of earlier messages for personas"), default=True, db_default=True
    )
    # Ids, as strings: the room's events and lists contain them, and no query reads the bindings.
    muted_personas = models.JSONField(default=list, db_default=[], editable=False)
    personas = models.ManyToManyField(Persona, through="RoomPersona", related_name="rooms")
    last_seq = models.PositiveBigIntegerField(default=0, editable=False)
    # Written with `last_seq` by `event_log.record`; see rooms.fanout.unread. The database has the
    # default, too: processes of the version before insert rooms during an upgrade.
    message_count = models.PositiveBigIntegerField(default=0, db_default=0, editable=False)
    deleted_seq = models.PositiveBigIntegerField(default=0, db_default=0, editable=False)
    last_message_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    archived_at = models.DateTimeField(null=True, editable=False)
    deleted_at = models.DateTimeField(null=True, editable=False)  # without members; see purge_rooms
    # Without active members since then; see rooms.services.people.owners.
    abandoned_at = models.DateTimeField(null=True, editable=False)

    objects = RoomQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["team", "direct_key"], name="room_direct_once"),
        ]
        permissions: ClassVar = [
            ("view", "See the room"),
            ("post", "Write in the room"),
            ("moderate", "Stop anybody's answer in the room"),
            ("manage", "Change the room, its people and its personas"),
        ]

    def __str__(self) -> str:
        return self.name

    def handles(self) -> dict[str, UUID | None]:
        """Return the handles of the room's members, with their ids, and of its personas.

        One query; the ids of personas are None.
        """
        nobody = models.Value(None, output_field=models.UUIDField())
        members = self.members.active().values_list("user__handle", "user_id")
        personas = self.personas.order_by().values_list("handle", nobody)
        return dict(members.union(personas, all=True))


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
    """A user in a room, with a role and a read position.

    `read_count` is the number of messages up to `read_seq`, deleted ones included.
    """

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="members")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="room_memberships")
    role = models.CharField(_("role"), max_length=9, choices=RoomRole, default=RoomRole.MEMBER)
    read_seq = models.PositiveBigIntegerField(default=0)
    read_count = models.PositiveBigIntegerField(default=0, db_default=0)
    joined_at = models.DateTimeField(default=timezone.now, editable=False)
    suspended = models.BooleanField(default=False, editable=False)
    favourite = models.BooleanField(default=False, db_default=False, editable=False)
    muted = models.BooleanField(default=False, db_default=False, editable=False)
    # The member has come to the team through this room, and has not dismissed the welcome.
    welcome = models.BooleanField(default=False, db_default=False, editable=False)

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
