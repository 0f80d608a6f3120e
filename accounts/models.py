"""Users, teams, memberships, invitations, credentials and audit entries."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.ids import new_id
from accounts.roles import ObjectPermission
from accounts.scopes import FULL_SCOPE, Scope


class Wood(models.TextChoices):
    """The colour of a user's avatar."""

    PINE = "pine", _("Cream")
    ZELKOVA = "zelkova", _("Tan")
    PAULOWNIA = "paulownia", _("Grey")
    PERSIMMON = "persimmon", _("Brown")


class TeamRole(models.TextChoices):
    """The role of a team member; `accounts.roles` lists the permissions of each role."""

    OWNER = "owner", _("Owner")
    ADMIN = "admin", _("Admin")
    MEMBER = "member", _("Member")
    GUEST = "guest", _("Guest")


class UserManager(BaseUserManager["User"]):
    """Creates and finds users by email."""

    def locked(self) -> models.QuerySet[User]:
        """Lock the users until the transaction ends, as `TeamQuerySet.locked` locks teams.

        Users are locked before teams.
        """
        return self.select_for_update(of=("self",), no_key=True)

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email=(username or "").strip().lower())


class User(AbstractBaseUser, PermissionsMixin):
    """A person with an account. Only the user and team admins see the email."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    email = models.EmailField(_("email"), unique=True)
    name = models.CharField(_("name"), max_length=40)
    handle = models.CharField(_("handle"), max_length=40, unique=True)
    wood = models.CharField(_("colour"), max_length=16, choices=Wood, default=Wood.PINE)
    is_active = models.BooleanField(_("active"), default=True)
    is_staff = models.BooleanField(_("staff"), default=False)
    date_joined = models.DateTimeField(_("joined"), default=timezone.now, editable=False)

    scope: Scope = FULL_SCOPE
    """The scope of the credential in use; a token lookup sets it. Not stored."""

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(Lower("email"), name="user_email_in_any_case"),
        ]

    def __str__(self) -> str:
        return self.name or self.email

    def get_short_name(self) -> str:
        return self.name


class TeamQuerySet(models.QuerySet["Team"]):
    def visible_to(self, user: User) -> TeamQuerySet:
        """Return the teams of which `user` is an active member, by name.

        A credential that is bound to a team sees only that team.
        """
        teams = self.filter(active_member("members__"), members__user=user, deleted_at=None)
        teams = teams.order_by("name", "pk")
        return teams.filter(pk=user.scope.team_id) if user.scope.team_id else teams

    def locked(self) -> TeamQuerySet:
        """Lock the teams until the transaction ends: their members and settings cannot change.

        With `no_key` (FOR NO KEY UPDATE in PostgreSQL), so that other transactions can insert rows
        that refer to the team.
        """
        return self.select_for_update(of=("self",), no_key=True)


class Team(models.Model):
    """A tenant. Every object except users belongs to exactly one team."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(_("name"), max_length=80)
    require_mfa = models.BooleanField(_("two-step sign-in for everybody"), default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    deleted_at = models.DateTimeField(null=True, editable=False)  # restorable for 7 days

    objects = TeamQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        permissions: ClassVar = [
            ("view", "See the team"),
            ("join_room", "Join open rooms"),
            ("create_room", "Make rooms"),
            ("manage_people", "Invite and remove people"),
            ("manage_agents", "Configure personas and connections"),
            ("manage", "Change the team itself"),
        ]

    def __str__(self) -> str:
        return self.name


class TeamPermission(ObjectPermission):
    """One permission of a user on a team."""

    content_object = models.ForeignKey(Team, on_delete=models.CASCADE)


def active_member(path: str = "") -> models.Q:
    """Return the condition of an active team member; `path` is a lookup that ends at TeamMember.

    An active member is not suspended in the team and has an active account. Only active members
    have access, count as owners and inherit rooms and teams. A member who lacks the second factor
    that the team requires is active: such members regain access by themselves.
    """
    return models.Q(**{f"{path}suspended_at": None, f"{path}user__is_active": True})


class TeamMemberQuerySet(models.QuerySet["TeamMember"]):
    def active(self) -> TeamMemberQuerySet:
        """Return the active members, see `active_member`."""
        return self.filter(active_member())

    def locked(self) -> TeamMemberQuerySet:
        """Lock the memberships until the transaction ends, after their teams and before rooms."""
        return self.select_for_update(of=("self",), no_key=True)


class TeamMember(models.Model):
    """A user in a team, with a role. A suspended member keeps the row and has no permissions."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="members")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(_("role"), max_length=8, choices=TeamRole, default=TeamRole.MEMBER)
    joined_at = models.DateTimeField(default=timezone.now, editable=False)
    suspended_at = models.DateTimeField(null=True, editable=False)
    # `names.search_key` of the user's name, so that one index sorts the members of a team.
    name_key = models.CharField(max_length=120, db_default="", editable=False)

    objects = TeamMemberQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["team", "user"], name="team_member_once"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["team", "name_key", "id"], name="team_member_by_name"),
            models.Index(fields=["team", "role", "name_key", "id"], name="team_member_by_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role} of {self.team_id}"

    @property
    def is_active(self) -> bool:
        """True for an active member, as `active_member` defines; reads `user`."""
        return self.suspended_at is None and self.user.is_active


class TeamHandle(models.Model):
    """A handle that a member or a persona of a team has; only `services.handles` writes the rows.

    `handle` is the result of `names.handle_key`; `holder` is the id of a user or of a persona.
    """

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="handles")
    handle = models.CharField(max_length=120)
    holder = models.UUIDField()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["team", "handle"], name="team_handle_once"),
            models.UniqueConstraint(fields=["team", "holder"], name="team_handle_of_one_holder"),
        ]

    def __str__(self) -> str:
        return self.handle


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def usable(self) -> InvitationQuerySet:
        """Return invitations with uses left that are not revoked or expired, of teams not deleted.

        The query has no joins: PostgreSQL rechecks the conditions of an UPDATE only on the row that
        it has locked, so a join would let two users consume the last use.
        """
        return self.filter(
            uses__lt=models.F("max_uses"),
            revoked_at=None,
            expires_at__gt=timezone.now(),
            team__in=Team.objects.filter(deleted_at=None),
        )


class Invitation(models.Model):
    """A link that admits up to `max_uses` users to a team until `expires_at`.

    Only the hash of its token is stored. With an email, only a user who has verified that email can
    accept it.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="invitations")
    role = models.CharField(_("role"), max_length=8, choices=TeamRole, default=TeamRole.MEMBER)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    invited_by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    email = models.EmailField(_("email"), blank=True)
    max_uses = models.PositiveIntegerField(_("how many people"), default=1)
    uses = models.PositiveIntegerField(default=0, editable=False)
    accounts = models.PositiveIntegerField(default=0, editable=False)  # accounts created with it
    revoked_at = models.DateTimeField(null=True)

    objects = InvitationQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return str(self.pk)


class SetupLink(models.Model):
    """The one-time link that creates the first account and team of an installation."""

    digest = models.CharField(max_length=64, unique=True, editable=False)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return str(self.pk)


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def valid(self) -> ApiTokenQuerySet:
        """Return the tokens that authenticate now: not expired, and user and member active."""
        not_expired = models.Q(expires_at=None) | models.Q(expires_at__gt=timezone.now())
        memberships = TeamMember.objects.active().filter(
            team=models.OuterRef("team"), user=models.OuterRef("user"), team__deleted_at=None
        )
        in_team = models.Q(team=None) | models.Exists(memberships)
        return self.filter(not_expired, in_team, user__is_active=True)

    def in_scope_of(self, user: User) -> ApiTokenQuerySet:
        """Return the tokens of `user`; a team-bound credential sees only tokens of that team."""
        own = self.filter(user=user)
        return own.filter(team_id=user.scope.team_id) if user.scope.team_id else own


class ApiToken(models.Model):
    """A bearer token of a user, for programs. It is shown once; only its hash is stored."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    team = models.ForeignKey(Team, null=True, blank=True, on_delete=models.CASCADE)
    name = models.CharField(_("name"), max_length=80)
    scopes = models.JSONField(default=list)
    hint = models.CharField(max_length=8, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"{self.name} …{self.hint}"


class AuditQuerySet(models.QuerySet["AuditEntry"]):
    def matching(
        self,
        *,
        actor: UUID | None = None,
        action: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AuditQuerySet:
        """Filter by actor, by the prefix of the action and by time; empty values do not filter."""
        filters = {
            "actor": actor,
            "action__startswith": action,
            "created_at__gte": since,
            "created_at__lt": until,
        }
        return self.filter(**{name: value for name, value in filters.items() if value})


class AuditEntry(models.Model):
    """One change, or one refused attempt. Database triggers reject updates and deletions.

    The entries of a team form a hash chain in the order of `number`: each entry holds the hash of
    the entry before it. Entries without a team form the chain of the installation. Only
    `accounts.audit.log` writes entries.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # No constraint: entries remain after their team or actor is deleted.
    team = models.ForeignKey(
        Team, null=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    number = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(default=timezone.now)
    actor = models.ForeignKey(
        User, null=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    token_hint = models.CharField(max_length=8)
    ip = models.CharField(max_length=45)
    action = models.CharField(max_length=120)
    target_kind = models.CharField(max_length=32)
    target_id = models.UUIDField(null=True)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    refused = models.BooleanField(default=False)
    prev_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    objects = AuditQuerySet.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("audit entry"), _("audit entries")
        ordering = ("-number",)
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["team", "number"], name="audit_number_once"),
            models.UniqueConstraint(
                fields=["number"],
                condition=models.Q(team=None),
                name="audit_number_once_alone",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["team", "actor", "number"], name="audit_by_actor"),
            models.Index(fields=["team", "action", "number"], name="audit_by_action"),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.action}"


class KeptAnswer(models.Model):
    """The response to a POST with an `Idempotency-Key`, returned again if the POST is repeated.

    `digest` is the hash of user, method, path and key. `answer` is encrypted with the key.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64, unique=True)
    body_digest = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    answer = models.BinaryField(default=bytes)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()
        indexes: ClassVar = [models.Index(fields=["user", "created_at"], name="kept_answer_age")]

    def __str__(self) -> str:
        return self.digest
