"""Teams and who is in them. Roles become permissions here, in the transaction that sets them."""

from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from accounts.audit import audit
from accounts.endings import Ending, access_ended
from accounts.errors import Conflict, Forbidden, Invalid, NotFound
from accounts.gate import (
    CREATE_ROOM,
    MANAGE,
    MANAGE_PEOPLE,
    VIEW,
    access_team,
    team_permissions,
)
from accounts.mfa import has_mfa, with_mfa
from accounts.models import ApiToken, Team, TeamMember, TeamRole, User
from accounts.names import clean_name
from accounts.permissions import TEAM_ROLES, set_permissions

TEAM_NAME_LENGTH: Final = 80
ASKED_BY_GUESTS: Final = (TeamRole.OWNER, TeamRole.ADMIN)
_RANKS: Final = (TeamRole.GUEST, TeamRole.MEMBER, TeamRole.ADMIN, TeamRole.OWNER)


@transaction.atomic
def create_team(*, user: User, name: str) -> Team:
    """Make a team that `user` owns; not by a credential that is bound to another one."""
    if user.reach.team_id is not None:
        raise Forbidden
    team = Team.objects.create(name=_clean(name))
    put_member(team, user, TeamRole.OWNER)
    audit(user, "team.created", team.pk, team_id=team.pk, after={"name": team.name})
    return team


@transaction.atomic
def rename_team(*, user: User, team_id: UUID, name: str) -> Team:
    """Give the team another name."""
    team = access_team(user, team_id, MANAGE)
    before = {"name": team.name}
    team.name = _clean(name)
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
def add_team_member(*, user: User, team_id: UUID, person: User, role: str) -> TeamMember:
    """Take somebody into the team. Raises Conflict if they are in it already."""
    team = access_team(user, team_id, MANAGE_PEOPLE)
    check_role(role, given_by=role_in(team, user))
    member = put_member(team, person, role)
    after = {"user": str(person.pk), "role": role}
    audit(user, "team.member_added", team.pk, team_id=team.pk, after=after)
    return member


@transaction.atomic
def set_team_role(*, user: User, team_id: UUID, member_id: UUID, role: str) -> TeamMember:
    """Change somebody's role. Nobody rises above, or changes, who is above them."""
    team = _locked(user, team_id, MANAGE_PEOPLE)
    member = _member(team, member_id)
    own_role = role_in(team, user)
    check_role(member.role, given_by=own_role)
    check_role(role, given_by=own_role)
    if role != TeamRole.OWNER:
        _keep_an_owner(member)
    before = {"user": str(member_id), "role": member.role}
    member.role = role
    member.save(update_fields=["role"])
    set_permissions([member.user], team, TEAM_ROLES[role])
    after = {"user": str(member_id), "role": role}
    audit(user, "team.member_changed", team.pk, team_id=team.pk, before=before, after=after)
    return member


@transaction.atomic
def remove_team_member(*, user: User, team_id: UUID, member_id: UUID) -> None:
    """Take somebody out of the team, with all that they have in it; anybody may leave."""
    leaving = member_id == user.pk
    team = _locked(user, team_id, VIEW if leaving else MANAGE_PEOPLE)
    member = _member(team, member_id)
    if not leaving:
        check_role(member.role, given_by=role_in(team, user))
    _keep_an_owner(member)
    set_permissions([member.user], team, frozenset())
    ApiToken.objects.filter(user_id=member_id, team=team).delete()
    member.delete()
    access_ended(Ending(user_id=member_id, team_id=team.pk))
    before = {"user": str(member_id), "role": member.role}
    audit(user, "team.member_removed", team.pk, team_id=team.pk, before=before)


def put_member(team: Team, person: User, role: str) -> TeamMember:
    """Write the row and its permissions, within the caller's transaction and after its checks."""
    member, is_new = TeamMember.objects.get_or_create(
        team=team, user=person, defaults={"role": role}
    )
    if not is_new:
        raise Conflict(_("This person is in the team already."))
    set_permissions([person], team, TEAM_ROLES[role])
    return member


def role_in(team: Team, user: User) -> str:
    """Return the role of a member; raises NotFound for others."""
    return _member(team, user.pk).role


def check_role(role: str, *, given_by: str) -> None:
    """Raise unless somebody in the role `given_by` may give, change and take the role."""
    if role not in TeamRole.values:
        raise Invalid(fields={"role": _("Choose one of the roles.")})
    if TEAM_ROLES[given_by].isdisjoint({MANAGE_PEOPLE}) or role not in roles_up_to(given_by):
        raise Forbidden(_("Only somebody in that role or above it may do this."))


def members_seen_by(user: User, team: Team) -> QuerySet[TeamMember]:
    """Return who is in the team, as far as `user`, who is in it, may know.

    A guest sees themselves and whom to ask: who else is in the team is not for guests.
    """
    members = TeamMember.objects.filter(team=team)
    if CREATE_ROOM in team_permissions(user, team):
        return members
    return members.filter(Q(user=user) | Q(role__in=ASKED_BY_GUESTS))


def roles_up_to(role: str) -> list[TeamRole]:
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


def _member(team: Team, user_id: UUID) -> TeamMember:
    member = TeamMember.objects.select_related("user").filter(team=team, user_id=user_id).first()
    if member is None:
        raise NotFound
    return member


def _shut_out_without_mfa(team: Team) -> None:
    members = TeamMember.objects.filter(team=team)
    for user_id in members.exclude(with_mfa(OuterRef("user"))).values_list("user_id", flat=True):
        access_ended(Ending(user_id=user_id))


def _keep_an_owner(member: TeamMember) -> None:
    others = TeamMember.objects.filter(team=member.team_id, role=TeamRole.OWNER).exclude(
        pk=member.pk
    )
    if member.role == TeamRole.OWNER and not others.exists():
        raise Conflict(_("A team keeps at least one owner. Make somebody else an owner first."))


def _clean(name: str) -> str:
    clean = clean_name(name, longest=TEAM_NAME_LENGTH)
    if not clean:
        raise Invalid(fields={"name": _("Write a name that can be seen.")})
    return clean
