"""Teams and their members. A role and its permissions are stored in one transaction."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.audit.log import audit, audit_last
from accounts.errors import Conflict, Forbidden, Invalid, NotFound
from accounts.hooks import AccessRevoked, access_revoked, account_hooks
from accounts.mfa import has_mfa, mfa_enabled
from accounts.models import (
    ApiToken,
    AuditEntry,
    Team,
    TeamMember,
    TeamRole,
    User,
    active_member,
)
from accounts.names import require_name, search_key
from accounts.permissions import (
    CREATE_ROOM,
    MANAGE,
    MANAGE_PEOPLE,
    VIEW,
    access_deleted_team,
    access_team,
    lock_team,
    lock_user,
    team_permissions,
)
from accounts.roles import TEAM_ROLES, set_permissions
from accounts.scopes import check_not_team_bound
from accounts.services.handles import release_handle, take_handle_of_new_member

TEAM_NAME_LENGTH: Final = 80
MAX_OWNED_TEAMS: Final = 100
RESTORE_WINDOW: Final = timedelta(days=7)
VISIBLE_TO_GUESTS: Final = (TeamRole.OWNER, TeamRole.ADMIN)
_RANKS: Final = (TeamRole.GUEST, TeamRole.MEMBER, TeamRole.ADMIN, TeamRole.OWNER)


@transaction.atomic
def create_team(*, user: User, name: str) -> Team:
    """Create a team that `user` owns. Raises Forbidden for a team-bound credential."""
    check_not_team_bound(user.scope)
    lock_user(user)
    owned = TeamMember.objects.filter(user=user, role=TeamRole.OWNER, team__deleted_at=None)
    if owned.count() >= MAX_OWNED_TEAMS:
        raise Conflict(_("You own 100 teams. Delete or hand over one first."))
    team = Team.objects.create(name=require_name(name, max_length=TEAM_NAME_LENGTH))
    add_team_member(team, user, TeamRole.OWNER)
    audit(user, "team.created", team.pk, team_id=team.pk, after={"name": team.name})
    return team


@transaction.atomic
def rename_team(*, user: User, team_id: UUID, name: str) -> Team:
    """Rename the team."""
    team = lock_team(user, team_id, MANAGE)
    before = {"name": team.name}
    team.name = require_name(name, max_length=TEAM_NAME_LENGTH)
    team.save(update_fields=["name"])
    after = {"name": team.name}
    audit(user, "team.changed", team.pk, team_id=team.pk, before=before, after=after)
    return team


@transaction.atomic
def require_mfa(*, user: User, team_id: UUID, required: bool) -> Team:
    """Set whether the team requires two-step sign-in.

    Connections of members without a second factor are closed, and their runs in the team end.
    Raises Conflict if `user` has no second factor.
    """
    team = lock_team(user, team_id, MANAGE)
    if required and not has_mfa(user):
        raise Conflict(_("Set up two-step sign-in for your account first."))
    before = {"require_mfa": team.require_mfa}
    team.require_mfa = required
    team.save(update_fields=["require_mfa"])
    if required:
        members = team.members.exclude(mfa_enabled(OuterRef("user"))).values_list("user_id")
        without_mfa = list(User.objects.filter(pk__in=members))
        for hooks in account_hooks:
            hooks.access_blocked(without_mfa, [team])
        for member in without_mfa:
            access_revoked(AccessRevoked(user_id=member.pk))
    after = {"require_mfa": required}
    audit(user, "team.changed", team.pk, team_id=team.pk, before=before, after=after)
    return team


@transaction.atomic
@audit_last()
def set_team_role(*, user: User, team_id: UUID, member_id: UUID, role: str) -> TeamMember:
    """Change the role of a member.

    Raises Forbidden if the member's current or new role is above the role of `user`.
    """
    team = lock_team(user, team_id, MANAGE_PEOPLE)
    member = _member(team, member_id, TeamMember.objects.filter(suspended_at=None))
    own_role = role_in(team, user.pk)
    check_can_grant(member.role, own_role=own_role, team=team)
    check_can_grant(role, own_role=own_role, team=team)
    if role != TeamRole.OWNER:
        _check_has_other_owner(member)
    before = {"user": str(member_id), "role": member.role}
    _set_role(member, role)
    after = {"user": str(member_id), "role": role}
    audit(user, "team.member_changed", team.pk, team_id=team.pk, before=before, after=after)
    return member


@transaction.atomic
@audit_last()
def hand_over_team(*, user: User, team_id: UUID, member_id: UUID) -> None:
    """Make another member an owner and make `user` an admin."""
    team = lock_team(user, team_id, MANAGE)
    new_owner = _member(team, member_id)
    if member_id == user.pk:
        raise Conflict(_("You already own this team."))
    changes = [(new_owner, TeamRole.OWNER), (_member(team, user.pk), TeamRole.ADMIN)]
    # Every service locks memberships in the order of their keys, to avoid deadlocks.
    for member, role in sorted(changes, key=lambda change: change[0].pk):
        _set_role(member, role)
    after = {"owner": str(member_id)}
    audit(user, "team.handed_over", team.pk, team_id=team.pk, after=after)


@transaction.atomic
@audit_last()
def suspend_team_member(*, user: User, team_id: UUID, member_id: UUID) -> TeamMember:
    """Remove all permissions of a member and close their connections; keep the membership."""
    team = lock_team(user, team_id, MANAGE_PEOPLE)
    member = _member(team, member_id, TeamMember.objects.filter(suspended_at=None))
    check_can_grant(member.role, own_role=role_in(team, user.pk), team=team)
    if member_id == user.pk:
        raise Conflict(_("You cannot suspend yourself. Leave the team instead."))
    member.suspended_at = timezone.now()
    member.save(update_fields=["suspended_at"])
    set_permissions([member.user], team, frozenset())
    for hooks in account_hooks:
        hooks.member_suspended(member)
    _close_token_connections(team, user=member.user)
    after = {"user": str(member_id)}
    audit(user, "team.member_suspended", team.pk, team_id=team.pk, after=after)
    return member


@transaction.atomic
@audit_last()
def restore_team_member(*, user: User, team_id: UUID, member_id: UUID) -> TeamMember:
    """Grant a suspended member the permissions of their role again."""
    team = lock_team(user, team_id, MANAGE_PEOPLE)
    member = _member(team, member_id, TeamMember.objects.filter(suspended_at__isnull=False))
    check_can_grant(member.role, own_role=role_in(team, user.pk), team=team)
    member.suspended_at = None
    member.save(update_fields=["suspended_at"])
    set_permissions([member.user], team, TEAM_ROLES[member.role])
    for hooks in account_hooks:
        hooks.member_restored(member)
    after = {"user": str(member_id)}
    audit(user, "team.member_restored", team.pk, team_id=team.pk, after=after)
    return member


@transaction.atomic
@audit_last()
def remove_team_member(*, user: User, team_id: UUID, member_id: UUID) -> None:
    """Delete a membership with its permissions and tokens. Members may remove themselves."""
    leaving = member_id == user.pk
    team = lock_team(user, team_id, VIEW if leaving else MANAGE_PEOPLE)
    member = _member(team, member_id, TeamMember.objects.all())
    if not leaving:
        check_can_grant(member.role, own_role=role_in(team, user.pk), team=team)
    _check_has_other_owner(member)
    set_permissions([member.user], team, frozenset())
    _close_token_connections(team, user=member.user)
    ApiToken.objects.filter(user_id=member_id, team=team).delete()
    member.delete()
    release_handle(team.pk, member_id)
    access_revoked(AccessRevoked(user_id=member_id, team_id=team.pk))
    before = {"user": str(member_id), "role": member.role}
    audit(user, "team.member_removed", team.pk, team_id=team.pk, before=before)


def delete_team(*, user: User, team_id: UUID, name: str) -> Team:
    """Mark a team as deleted and close its connections. `name` confirms the deletion.

    Its owners may restore the team until `purged_after`; then `purge_teams` deletes its rows.
    """
    team = access_team(user, team_id, MANAGE)
    _check_name(team, name)
    for hooks in account_hooks:
        hooks.team_closing(team, user)
    return _delete(user, team_id, name)


def _check_name(team: Team, name: str) -> None:
    if name.strip() != team.name:
        raise Invalid(fields={"name": _("Type the name of the team exactly as it is shown.")})


@transaction.atomic
def _delete(user: User, team_id: UUID, name: str) -> Team:
    team = lock_team(user, team_id, MANAGE)
    _check_name(team, name)
    team.deleted_at = timezone.now()
    team.save(update_fields=["deleted_at"])
    for hooks in account_hooks:
        hooks.team_deleted(team, user)
    _close_token_connections(team)
    audit(user, "team.deleted", team.pk, team_id=team.pk)
    return team


@transaction.atomic
def restore_team(*, user: User, team_id: UUID) -> Team:
    """Undo the deletion of a team. Runs that the deletion stopped stay stopped."""
    access_deleted_team(user, team_id)
    list(Team.objects.locked().filter(pk=team_id).values_list("pk"))
    team = access_deleted_team(user, team_id)  # again under the lock, as in `lock_team`
    if purged_after(team) < timezone.now():
        raise NotFound
    team.deleted_at = None
    team.save(update_fields=["deleted_at"])
    for hooks in account_hooks:
        hooks.team_restored(team)
    audit(user, "team.restored", team.pk, team_id=team.pk)
    return team


def purge_teams() -> int:
    """Delete the rows of teams that can no longer be restored; return the number of teams.

    The audit log of a team is deleted with it. The log of the installation records the purge.
    """
    expired = Team.objects.filter(deleted_at__lt=timezone.now() - RESTORE_WINDOW)
    purged = 0
    for team_id in list(expired.values_list("pk", flat=True)):
        if not _end_restore_window(team_id):
            continue
        for hooks in account_hooks:
            hooks.team_expired(team_id)
        with transaction.atomic():
            Team.objects.filter(pk=team_id).delete()
            # After the team: a database trigger rejects this while the team exists.
            AuditEntry.objects.filter(team=team_id).delete()
            audit(None, "team.purged", team_id)
            purged += 1
    return purged


@transaction.atomic
def _end_restore_window(team_id: UUID) -> bool:
    """Return True if the team can no longer be restored; False if it was restored meanwhile.

    Asked under the lock that `restore_team` takes. The deletion is antedated, because the clock of
    another process may be behind, and its `restore_team` must not restore a team without messages.
    """
    for team in Team.objects.locked().filter(pk=team_id, deleted_at__isnull=False):
        end = purged_after(team)
        if end < timezone.now():
            team.deleted_at = end - 2 * RESTORE_WINDOW
            team.save(update_fields=["deleted_at"])
            return True
    return False


def purged_after(team: Team) -> datetime:
    """Return the time until which a deleted team can be restored."""
    assert team.deleted_at is not None
    return team.deleted_at + RESTORE_WINDOW


def add_team_member(team: Team, person: User, role: str) -> TeamMember:
    """Store a membership and its permissions. The caller must check that the role may be granted.

    Runs in the transaction of the caller. Raises Conflict if `person` is a member, even suspended,
    or if a persona of the team has the handle of `person`.
    """
    member, is_new = TeamMember.objects.get_or_create(
        team=team, user=person, defaults={"role": role, "name_key": search_key(person.name)}
    )
    if not is_new:
        raise Conflict(_("This person is already in the team."))
    take_handle_of_new_member(team, person)
    set_permissions([person], team, TEAM_ROLES[role])
    return member


def role_in(team: Team, user_id: UUID) -> str:
    """Return the role of an active member. Raises NotFound for all other users."""
    return _member(team, user_id).role


def check_can_grant(role: str, *, own_role: str, team: Team) -> None:
    """Raise Forbidden unless a member with `own_role` may grant, change and remove `role`.

    Raises Invalid if `role` is not a role.
    """
    if role not in TeamRole.values:
        raise Invalid(fields={"role": _("Choose one of the roles.")})
    if TEAM_ROLES[own_role].isdisjoint({MANAGE_PEOPLE}) or role not in grantable_roles(own_role):
        detail = _("Only members with this role or a higher one can do this.")
        raise Forbidden(detail, team_id=team.pk)


def members_visible_to(user: User, team: Team) -> QuerySet[TeamMember]:
    """Return the members of the team that `user`, a member, may see.

    A guest sees the owners, the admins and the guest's own membership. Only users
    who may restore suspended members see them.
    """
    permissions = team_permissions(user, team)
    members = TeamMember.objects.filter(team=team)
    if MANAGE_PEOPLE not in permissions:
        members = members.filter(active_member())
    if CREATE_ROOM in permissions:
        return members
    return members.filter(Q(user=user) | Q(role__in=VISIBLE_TO_GUESTS))


def grantable_roles(role: str) -> list[TeamRole]:
    """Return the roles that a member with `role` may grant, highest first."""
    return list(reversed(_RANKS[: _RANKS.index(TeamRole(role)) + 1]))


def _member(team: Team, user_id: UUID, among: QuerySet[TeamMember] | None = None) -> TeamMember:
    """Return a member of the team, by default an active one. Raises NotFound.

    Members with deactivated accounts can be suspended, removed and given another role: when the
    account is reactivated, the membership must not give access that the team has taken away.
    """
    members = TeamMember.objects.active() if among is None else among
    member = members.select_related("user").filter(team=team, user_id=user_id).first()
    if member is None:
        raise NotFound
    return member


def pass_on_ownerless_teams(teams: Iterable[Team], person: User | None = None) -> None:
    """Make a member the owner of each team without an active owner; the caller has locked them.

    The heir is the active member with the highest role who joined first. A team without active
    members keeps its roles: no user has access until an account is reactivated. Also locks the
    memberships of `person`, whose account changes.
    """
    heirs = [heir for team in teams if (heir := _heir(team)) is not None]
    changing = Q(pk__in=[heir.pk for heir in heirs])
    if person is not None:
        changing |= Q(user=person)
    # One query, because every service locks memberships in the order of their keys.
    list(TeamMember.objects.locked().filter(changing).order_by("pk").values_list("pk"))
    for heir in heirs:
        _set_role(heir, TeamRole.OWNER)
        after = {"owner": str(heir.user_id)}
        audit(None, "team.inherited", heir.team_id, team_id=heir.team_id, after=after)


def _heir(team: Team) -> TeamMember | None:
    """Return the member who inherits the team; None if it has an active owner or no members."""
    members = list(team.members.active().select_related("user").order_by("joined_at", "pk"))
    heir = max(members, key=lambda member: _RANKS.index(TeamRole(member.role)), default=None)
    return None if heir is None or heir.role == TeamRole.OWNER else heir


def _set_role(member: TeamMember, role: str) -> None:
    if role == member.role:
        return
    member.role = role
    member.save(update_fields=["role"])
    set_permissions([member.user], member.team, TEAM_ROLES[role])
    for hooks in account_hooks:
        hooks.member_role_changed(member)


def _close_token_connections(team: Team, **owner: User) -> None:
    """Close the connections of tokens that are bound to the team, of all users or of `user`."""
    bound = ApiToken.objects.filter(team=team, **owner)
    for token_id, user_id in bound.values_list("pk", "user_id"):
        access_revoked(AccessRevoked(user_id=user_id, token_id=token_id))


def _check_has_other_owner(member: TeamMember) -> None:
    owners = TeamMember.objects.active().filter(team=member.team_id, role=TeamRole.OWNER)
    others = owners.exclude(pk=member.pk)
    if member.role == TeamRole.OWNER and not others.exists():
        raise Conflict(_("A team needs at least one owner. Make another member an owner first."))
