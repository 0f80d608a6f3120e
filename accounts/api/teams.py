"""The REST endpoints of teams and their members; `rooms.api.invitations` creates invitations."""

from typing import Annotated, Any, Literal
from uuid import UUID

from django.db import transaction
from django.db.models import Prefetch
from msgspec import UNSET, Meta, Struct, UnsetType

from accounts.api.bodies import Body
from accounts.api.me import WoodWord, check_account_access
from accounts.api.pagination import MAX_PAGE, Cursor, Limit, Page, Words, each, page_of
from accounts.api.routing import Gate, Routes
from accounts.audit.log import audit_last
from accounts.errors import Conflict, NotFound
from accounts.fields import Timestamp, format_timestamp, one_of
from accounts.models import Invitation, Team, TeamMember, TeamRole, User
from accounts.permissions import MANAGE, MANAGE_PEOPLE, VIEW, access_deleted_team, access_team
from accounts.services import (
    accept_invitation,
    create_team,
    delete_team,
    hand_over_team,
    remove_team_member,
    rename_team,
    require_mfa,
    restore_team,
    restore_team_member,
    revoke_invitation,
    set_team_role,
    suspend_team_member,
)
from accounts.services.people import matching_members
from accounts.services.teams import members_visible_to, purged_after, role_in

routes = Routes("teams")

TeamName = Annotated[str, Meta(min_length=1, max_length=80)]
TeamRoleName = Literal["owner", "admin", "member", "guest"]


TeamRoleWord = Annotated[str, one_of(TeamRole.values)]


class TeamBody(Struct, frozen=True, kw_only=True):
    """A team; `role` is the role of the current user."""

    id: UUID
    name: str
    role: TeamRoleWord
    require_mfa: bool
    created_at: Timestamp


class TeamCreate(Body, frozen=True):
    """A new team, owned by the current user."""

    name: TeamName


class TeamUpdate(Body, frozen=True):
    """Changes to a team. A field that is absent or null does not change."""

    name: TeamName | None = None
    require_mfa: bool | None = None


class TeamDelete(Body, frozen=True):
    """The name of the team, as a confirmation."""

    name: TeamName


class DeletedTeamBody(Struct, frozen=True):
    """A deleted team; its owners may restore it until `purged_after`."""

    id: UUID
    name: str
    purged_after: Timestamp


class TeamOwnerUpdate(Body, frozen=True):
    """The member who becomes owner in place of the current user."""

    user: UUID


class TeamMemberBody(Struct, frozen=True, kw_only=True):
    """A member of a team, without the address."""

    user: UUID
    name: str
    handle: str
    wood: WoodWord
    role: TeamRoleWord
    suspended: bool
    joined_at: Timestamp


class TeamMemberUpdate(Body, frozen=True):
    """Changes to a member of a team. An absent field does not change."""

    role: TeamRoleName | UnsetType = UNSET
    suspended: bool | UnsetType = UNSET


class InvitationAccept(Body, frozen=True):
    """The secret of an invitation."""

    token: Annotated[str, Meta(min_length=1, max_length=200)]


@routes.add("GET /teams", summary="List the teams of the current user")
def get_teams(user: User, limit: Limit = MAX_PAGE, cursor: Cursor = None) -> Page[TeamBody]:
    teams = Team.objects.visible_to(user)
    memberships = TeamMember.objects.filter(user=user, team__in=teams)
    roles = dict(memberships.values_list("team_id", "role"))

    def body(team: Team) -> TeamBody:
        return _team_body(team, roles[team.pk])

    return page_of(teams, each(body), limit=limit, cursor=cursor)


@routes.add(
    "POST /teams",
    check=check_account_access,
    status=201,
    location="/teams/{id}",
    summary="Create a team",
)
def post_team(user: User, body: TeamCreate) -> TeamBody:
    return _team_body_for(user, create_team(user=user, name=body.name))


@routes.add("GET /teams/{uuid:team_id}", Gate(access_team, VIEW), summary="Get a team")
def get_team(user: User, team: Team) -> TeamBody:
    return _team_body_for(user, team)


@routes.add(
    "PATCH /teams/{uuid:team_id}",
    Gate(access_team, MANAGE),
    errors=(Conflict,),
    summary="Update a team",
)
def patch_team(user: User, team: Team, body: TeamUpdate) -> TeamBody:
    with transaction.atomic(), audit_last():
        if body.name is not None:
            team = rename_team(user=user, team_id=team.pk, name=body.name)
        if body.require_mfa is not None:
            team = require_mfa(user=user, team_id=team.pk, required=body.require_mfa)
    return _team_body_for(user, team)


@routes.add(
    "POST /teams/{uuid:team_id}/delete",
    gate_if_invalid=Gate(access_team, MANAGE),
    summary="Delete a team; its owners may restore it for a week",
)
def post_team_delete(user: User, team_id: UUID, body: TeamDelete) -> DeletedTeamBody:
    deleted = delete_team(user=user, team_id=team_id, name=body.name)
    end = format_timestamp(purged_after(deleted))
    return DeletedTeamBody(id=deleted.pk, name=deleted.name, purged_after=end)


@routes.add(
    "POST /teams/{uuid:team_id}/restore",
    gate_if_invalid=Gate(access_deleted_team),
    summary="Restore a deleted team",
)
def post_team_restore(user: User, team_id: UUID) -> TeamBody:
    return _team_body_for(user, restore_team(user=user, team_id=team_id))


@routes.add(
    "PUT /teams/{uuid:team_id}/owner",
    Gate(access_team, MANAGE),
    errors=(Conflict,),
    summary="Make another member owner; the current owner becomes admin",
)
def put_team_owner(user: User, team: Team, body: TeamOwnerUpdate) -> TeamBody:
    hand_over_team(user=user, team_id=team.pk, member_id=body.user)
    return _team_body_for(user, team)


@routes.add(
    "GET /teams/{uuid:team_id}/members",
    Gate(access_team, VIEW),
    summary="List the members of a team",
)
def get_team_members(
    user: User, team: Team, limit: Limit = MAX_PAGE, cursor: Cursor = None, *, q: Words = ""
) -> Page[TeamMemberBody]:
    visible = matching_members(members_visible_to(user, team), team.pk, q)
    users = User.objects.filter(memberships__in=visible).prefetch_related(
        Prefetch("memberships", visible, to_attr="in_team")
    )

    def body(member: Any) -> TeamMemberBody:  # Any: a User with the prefetched `in_team`
        return _member_body(member, member.in_team[0])

    return page_of(users, each(body), limit=limit, cursor=cursor)


def _access_member(user: User, team_id: UUID, member_id: UUID) -> TeamMember:
    """Return a member of a team whose members the user manages, suspended or not."""
    return _find_member(access_team(user, team_id, MANAGE_PEOPLE), member_id)


@routes.add(
    "PATCH /teams/{uuid:team_id}/members/{uuid:member_id}",
    Gate(_access_member),
    errors=(Conflict,),
    summary="Change the role of a team member, or suspend or restore the member",
)
def patch_team_member(user: User, member: TeamMember, body: TeamMemberUpdate) -> TeamMemberBody:
    team, names = member.team, {"team_id": member.team_id, "member_id": member.user_id}
    with transaction.atomic(), audit_last():
        if body.suspended is False and member.suspended_at is not None:
            restore_team_member(user=user, **names)
        if body.role is not UNSET:
            set_team_role(user=user, **names, role=body.role)
        if body.suspended is True and member.suspended_at is None:
            suspend_team_member(user=user, **names)
    changed = _find_member(team, member.user_id)
    return _member_body(changed.user, changed)


def _access_member_to_remove(user: User, team_id: UUID, member_id: UUID) -> TeamMember:
    needs = VIEW if member_id == user.pk else MANAGE_PEOPLE
    return _find_member(access_team(user, team_id, needs), member_id)


@routes.add(
    "DELETE /teams/{uuid:team_id}/members/{uuid:member_id}",
    gate_if_invalid=Gate(_access_member_to_remove),
    errors=(Conflict,),
    summary="Remove a member from a team, or leave the team",
)
def delete_team_member(user: User, team_id: UUID, member_id: UUID) -> None:
    remove_team_member(user=user, team_id=team_id, member_id=member_id)


def _access_invitation(user: User, team_id: UUID, invitation_id: UUID) -> None:
    team = access_team(user, team_id, MANAGE_PEOPLE)
    if not Invitation.objects.usable().filter(team=team, pk=invitation_id).exists():
        raise NotFound


@routes.add(
    "DELETE /teams/{uuid:team_id}/invitations/{uuid:invitation_id}",
    gate_if_invalid=Gate(_access_invitation),
    summary="Revoke an invitation",
)
def delete_invitation(user: User, team_id: UUID, invitation_id: UUID) -> None:
    revoke_invitation(user=user, team_id=team_id, invitation_id=invitation_id)


@routes.add(
    "POST /invitations/accept",
    check=check_account_access,
    errors=(NotFound,),
    summary="Accept an invitation",
)
def post_invitation_accept(user: User, body: InvitationAccept) -> TeamBody:
    member = accept_invitation(user=user, token=body.token)
    return _team_body(member.team, member.role)


def _team_body_for(user: User, team: Team) -> TeamBody:
    return _team_body(team, role_in(team, user.pk))


def _team_body(team: Team, role: str) -> TeamBody:
    return TeamBody(
        id=team.pk,
        name=team.name,
        role=role,
        require_mfa=team.require_mfa,
        created_at=format_timestamp(team.created_at),
    )


def _find_member(team: Team, member_id: UUID) -> TeamMember:
    members = team.members.select_related("user")
    member = members.filter(user_id=member_id).first()
    if member is None:
        raise NotFound
    return member


def _member_body(user: User, member: TeamMember) -> TeamMemberBody:
    return TeamMemberBody(
        user=user.pk,
        name=user.name,
        handle=user.handle,
        wood=user.wood,
        role=member.role,
        suspended=member.suspended_at is not None,
        joined_at=format_timestamp(member.joined_at),
    )
