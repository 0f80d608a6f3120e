"""Teams and who is in them. Roles become permissions here, in the transaction that sets them."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.audit.log import audit
from accounts.errors import Conflict, Forbidden, Invalid, NotFound
from accounts.hooks import followers
from accounts.mfa import has_mfa, mfa_enabled
from accounts.models import ApiToken, AuditEntry, Team, TeamMember, TeamRole, User
from accounts.names import required_name
from accounts.permissions import (
    CREATE_ROOM,
    MANAGE,
    MANAGE_PEOPLE,
    VIEW,
    access_deleted_team,
    access_team,
    team_permissions,
)
from accounts.revocation import Ending, access_ended
from accounts.roles import TEAM_ROLES, set_permissions
from accounts.scopes import check_not_team_bound

TEAM_NAME_LENGTH: Final = 80
RESTORE_WINDOW: Final = timedelta(days=7)
VISIBLE_TO_GUESTS: Final = (TeamRole.OWNER, TeamRole.ADMIN)
_RANKS: Final = (TeamRole.GUEST, TeamRole.MEMBER, TeamRole.ADMIN, TeamRole.OWNER)


@transaction.atomic
def create_team(*, user: User, name: str) -> Team:
    """Make a team that `user` owns; not by a credential that is bound to another one."""
    check_not_team_bound(user.scope)
    team = Team.objects.create(name=required_name(name, longest=TEAM_NAME_LENGTH))
    add_team_member(team, user, TeamRole.OWNER)
    audit(user, "team.created", team.pk, team_id=team.pk, after={"name": team.name})
    return team


@transaction.atomic
def rename_team(*, user: User, team_id: UUID, name: str) -> Team:
    """Give the team another name."""
    team = access_team(user, team_id, MANAGE)
    before = {"name": team.name}
    team.name = required_name(name, longest=TEAM_NAME_LENGTH)
    team.save(update_fields=["name"])
    after = {"name": team.name}
    audit(user, "team.changed", team.pk, team_id=team.pk, before=before, after=after)
    return team


@transaction.atomic
def require_mfa(*, user: User, team_id: UUID, required: bool) -> Team:
    """Ask everybody in the team for two-step sign-in, or no longer.

    Who has not set it up loses what is open at once. Raises Conflict while this is true of `user`.
    """
    team = access_team(user, team_id, MANAGE)
    if required and not has_mfa(user):
        raise Conflict(_("Set up two-step sign-in for yourself first."))
    before = {"require_mfa": team.require_mfa}
    team.require_mfa = required
    team.save(update_fields=["require_mfa"])
    if required:
        _shut_out_without_mfa(team)
    after = {"require_mfa": required}
    audit(user, "team.changed", team.pk, team_id=team.pk, before=before, after=after)
    return team


@transaction.atomic
def set_team_role(*, user: User, team_id: UUID, member_id: UUID, role: str) -> TeamMember:
    """Change somebody's role. Nobody rises above, or changes, who is above them."""
    team = _locked(user, team_id, MANAGE_PEOPLE)
    member = _member(team, member_id)
    own_role = role_in(team, user.pk)
    check_can_grant(member.role, given_by=own_role, team=team)
    check_can_grant(role, given_by=own_role, team=team)
    if role != TeamRole.OWNER:
        _keep_an_owner(member)
    before = {"user": str(member_id), "role": member.role}
    _set_role(member, role)
    after = {"user": str(member_id), "role": role}
    audit(user, "team.member_changed", team.pk, team_id=team.pk, before=before, after=after)
    return member


@transaction.atomic
def hand_over_team(*, user: User, team_id: UUID, member_id: UUID) -> None:
    """Make somebody else owner and step down to admin, in one go."""
    team = _locked(user, team_id, MANAGE)
    heir = _member(team, member_id)
    if member_id == user.pk:
        raise Conflict(_("You are an owner already."))
    changes = [(heir, TeamRole.OWNER), (_member(team, user.pk), TeamRole.ADMIN)]
    for member, role in sorted(changes, key=lambda change: change[0].pk):  # as seats are held
        _set_role(member, role)
    after = {"owner": str(member_id)}
    audit(user, "team.handed_over", team.pk, team_id=team.pk, after=after)


@transaction.atomic
def suspend_team_member(*, user: User, team_id: UUID, member_id: UUID) -> TeamMember:
    """Take everything in the team from somebody, at once, but for their seat."""
    team = _locked(user, team_id, MANAGE_PEOPLE)
    member = _member(team, member_id)
    check_can_grant(member.role, given_by=role_in(team, user.pk), team=team)
    if member_id == user.pk:
        raise Conflict(_("Nobody suspends themselves. Leave the team instead."))
    member.suspended_at = timezone.now()
    member.save(update_fields=["suspended_at"])
    set_permissions([member.user], team, frozenset())
    for follower in followers():
        follower.member_suspended(member)
    _end_tokens(team, user=member.user)
    after = {"user": str(member_id)}
    audit(user, "team.member_suspended", team.pk, team_id=team.pk, after=after)
    return member


@transaction.atomic
def restore_team_member(*, user: User, team_id: UUID, member_id: UUID) -> TeamMember:
    """Give somebody who is suspended back what they had in the team."""
    team = _locked(user, team_id, MANAGE_PEOPLE)
    suspended = team.members.select_related("user").filter(suspended_at__isnull=False)
    member = suspended.filter(user_id=member_id).first()
    if member is None:
        raise NotFound
    check_can_grant(member.role, given_by=role_in(team, user.pk), team=team)
    member.suspended_at = None
    member.save(update_fields=["suspended_at"])
    set_permissions([member.user], team, TEAM_ROLES[member.role])
    for follower in followers():
        follower.member_restored(member)
    after = {"user": str(member_id)}
    audit(user, "team.member_restored", team.pk, team_id=team.pk, after=after)
    return member


@transaction.atomic
def remove_team_member(*, user: User, team_id: UUID, member_id: UUID) -> None:
    """Take somebody out of the team, with all that they have in it; anybody may leave."""
    leaving = member_id == user.pk
    team = _locked(user, team_id, VIEW if leaving else MANAGE_PEOPLE)
    member = _member(team, member_id, even_suspended=True)
    if not leaving:
        check_can_grant(member.role, given_by=role_in(team, user.pk), team=team)
    _keep_an_owner(member)
    set_permissions([member.user], team, frozenset())
    _end_tokens(team, user=member.user)
    ApiToken.objects.filter(user_id=member_id, team=team).delete()
    member.delete()
    access_ended(Ending(user_id=member_id, team_id=team.pk))
    before = {"user": str(member_id), "role": member.role}
    audit(user, "team.member_removed", team.pk, team_id=team.pk, before=before)


@transaction.atomic
def delete_team(*, user: User, team_id: UUID, name: str) -> Team:
    """Shut a team for everybody; `name` is typed to show that it is meant.

    Its owners may undo it until `purged_after`; then `purge_teams` takes it away with all it has.
    """
    team = _locked(user, team_id, MANAGE)
    if name.strip() != team.name:
        raise Invalid(fields={"name": _("Write the name of the team as it stands above.")})
    team.deleted_at = timezone.now()
    team.save(update_fields=["deleted_at"])
    for follower in followers():
        follower.team_deleted(team, user)
    _end_tokens(team)
    audit(user, "team.deleted", team.pk, team_id=team.pk)
    return team


@transaction.atomic
def restore_team(*, user: User, team_id: UUID) -> Team:
    """Undo the deletion of a team; it is as it was, but for what was being answered."""
    team = access_deleted_team(user, team_id)
    if purged_after(team) < timezone.now():
        raise NotFound
    team.deleted_at = None
    team.save(update_fields=["deleted_at"])
    for follower in followers():
        follower.team_restored(team)
    audit(user, "team.restored", team.pk, team_id=team.pk)
    return team


def purge_teams() -> int:
    """Take away the teams that nobody may restore any more, with all they have; return how many.

    Their audit goes with them; that they are gone stands in that of the installation.
    """
    over = Team.objects.filter(deleted_at__lt=timezone.now() - RESTORE_WINDOW)
    found = list(over.values_list("pk", flat=True))
    for team_id in found:
        _purge(team_id)
    return len(found)


def purged_after(team: Team) -> datetime:
    """Return until when the deletion of a team may be undone."""
    assert team.deleted_at is not None
    return team.deleted_at + RESTORE_WINDOW


def add_team_member(team: Team, person: User, role: str) -> TeamMember:
    """Write the row and its permissions, within the caller's transaction and after its checks."""
    member, is_new = TeamMember.objects.get_or_create(
        team=team, user=person, defaults={"role": role}
    )
    if not is_new:
        raise Conflict(_("This person is in the team already."))
    set_permissions([person], team, TEAM_ROLES[role])
    return member


def role_in(team: Team, user_id: UUID) -> str:
    """Return the role of a member; raises NotFound for others, and for who is suspended."""
    return _member(team, user_id).role


def check_can_grant(role: str, *, given_by: str, team: Team) -> None:
    """Raise unless somebody in the role `given_by` may give, change and take the role."""
    if role not in TeamRole.values:
        raise Invalid(fields={"role": _("Choose one of the roles.")})
    if TEAM_ROLES[given_by].isdisjoint({MANAGE_PEOPLE}) or role not in grantable_roles(given_by):
        detail = _("Only somebody in that role or above it may do this.")
        raise Forbidden(detail, team_id=team.pk)


def members_visible_to(user: User, team: Team) -> QuerySet[TeamMember]:
    """Return who is in the team, as far as `user`, who is in it, may know.

    A guest sees themselves and whom to ask: who else is in the team is not for guests. Who is
    suspended is for those to see who may undo it.
    """
    may = team_permissions(user, team)
    members = TeamMember.objects.filter(team=team)
    if MANAGE_PEOPLE not in may:
        members = members.filter(suspended_at=None)
    if CREATE_ROOM in may:
        return members
    return members.filter(Q(user=user) | Q(role__in=VISIBLE_TO_GUESTS))


def grantable_roles(role: str) -> list[TeamRole]:
    """Return the roles that somebody in `role` may give, the highest first."""
    return list(reversed(_RANKS[: _RANKS.index(TeamRole(role)) + 1]))


def _locked(user: User, team_id: UUID, permission: str) -> Team:
    """Return the team, and let nobody else change its people until the transaction ends.

    Strangers are turned away before they could wait for the lock; the gate is asked again behind
    it, for whoever was removed while they waited.
    """
    access_team(user, team_id, permission)
    Team.objects.select_for_update(no_key=True).values_list("pk").get(pk=team_id)
    return access_team(user, team_id, permission)


def _member(team: Team, user_id: UUID, *, even_suspended: bool = False) -> TeamMember:
    members = TeamMember.objects.all() if even_suspended else TeamMember.objects.active()
    member = members.select_related("user").filter(team=team, user_id=user_id).first()
    if member is None:
        raise NotFound
    return member


@transaction.atomic
def _purge(team_id: UUID) -> None:
    Team.objects.filter(pk=team_id).delete()
    AuditEntry.objects.filter(team=team_id).delete()  # refused while there is a team
    audit(None, "team.purged", team_id)


def _shut_out_without_mfa(team: Team) -> None:
    members = TeamMember.objects.filter(team=team)
    for user_id in members.exclude(mfa_enabled(OuterRef("user"))).values_list("user_id", flat=True):
        access_ended(Ending(user_id=user_id))


def _set_role(member: TeamMember, role: str) -> None:
    if role == member.role:
        return
    member.role = role
    member.save(update_fields=["role"])
    set_permissions([member.user], member.team, TEAM_ROLES[role])
    for follower in followers():
        follower.member_role_changed(member)


def _end_tokens(team: Team, **whose: User) -> None:
    """Close what is open by tokens that are bound to the team: everybody's, or those of `user`."""
    bound = ApiToken.objects.filter(team=team, **whose)
    for token_id, user_id in bound.values_list("pk", "user_id"):
        access_ended(Ending(user_id=user_id, token_id=token_id))


def _keep_an_owner(member: TeamMember) -> None:
    owners = TeamMember.objects.active().filter(team=member.team_id, role=TeamRole.OWNER)
    others = owners.exclude(pk=member.pk)
    if member.role == TeamRole.OWNER and not others.exists():
        raise Conflict(_("A team keeps at least one owner. Make somebody else an owner first."))
