"""The REST endpoints of teams and of who is in them; inviting is in `rooms.api.invitations`."""

from typing import Any, Literal
from uuid import UUID

from django.db import transaction
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from ninja import Router
from pydantic import BaseModel, Field

from accounts.api.endpoints import (
    LONGEST_PAGE,
    Body,
    Cursor,
    Limit,
    Page,
    Time,
    answer,
    page_of,
    read_body,
    takes,
)
from accounts.api.idempotency import once
from accounts.errors import NotFound
from accounts.models import Team, TeamMember, User
from accounts.permissions import MANAGE, MANAGE_PEOPLE, VIEW, access_team, require_user
from accounts.scopes import check_not_team_bound
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
from accounts.services.teams import members_visible_to, purged_after, role_in

router = Router(tags=["teams"])

TeamRoleName = Literal["owner", "admin", "member", "guest"]


class TeamBody(BaseModel):
    """A team, and as what one is in it oneself."""

    id: UUID
    name: str
    role: str
    require_mfa: bool
    created_at: Time


class TeamWish(Body):
    """A team to be made; whoever makes it owns it."""

    name: str = Field(min_length=1, max_length=80)


class TeamChanges(Body):
    """What may change about a team; what is left out stays."""

    name: str | None = Field(None, min_length=1, max_length=80)
    require_mfa: bool | None = None


class Deletion(Body):
    """The name of the team, to show that it is meant."""

    name: str = Field(max_length=80)


class DeletedTeam(BaseModel):
    """A team that is shut for everybody, and until when its owners may undo that."""

    id: UUID
    name: str
    purged_after: Time


class Heir(Body):
    """Who is to own the team instead of oneself."""

    user: UUID


class TeamMemberBody(BaseModel):
    """Somebody in a team; their address is nobody else's."""

    user: UUID
    name: str
    handle: str
    wood: str
    role: str
    suspended: bool
    joined_at: Time


class TeamMemberChanges(Body):
    """What may change about somebody in a team; what is left out stays."""

    role: TeamRoleName = "member"
    suspended: bool = False


class Acceptance(Body):
    """The secret of an invitation."""

    token: str = Field(min_length=1, max_length=200)


@router.get("/teams", response=Page[TeamBody], summary="My teams")
def get_teams(
    request: HttpRequest, limit: Limit = LONGEST_PAGE, cursor: Cursor = None
) -> Page[TeamBody]:
    user = require_user(request)
    teams = Team.objects.visible_to(user)
    roles = dict(
        TeamMember.objects.filter(user=user, team__in=teams).values_list("team_id", "role")
    )
    return page_of(teams, lambda team: _team(team, roles[team.pk]), limit=limit, cursor=cursor)


@router.post("/teams", response={201: TeamBody}, openapi_extra=takes(TeamWish), summary="Make one")
def post_team(request: HttpRequest) -> HttpResponse:
    user = require_user(request)
    check_not_team_bound(user.scope)
    wish = read_body(request, TeamWish)

    def make() -> HttpResponse:
        return answer(_team_of(user, create_team(user=user, name=wish.name)), 201)

    return once(request, make)


@router.get("/teams/{uuid:team_id}", response=TeamBody, summary="A team")
def get_team(request: HttpRequest, team_id: UUID) -> TeamBody:
    user = require_user(request)
    return _team_of(user, access_team(user, team_id, VIEW))


@router.patch(
    "/teams/{uuid:team_id}",
    response=TeamBody,
    openapi_extra=takes(TeamChanges),
    summary="Change a team",
)
def patch_team(request: HttpRequest, team_id: UUID) -> TeamBody:
    user = require_user(request)
    team = access_team(user, team_id, MANAGE)
    changes = read_body(request, TeamChanges)
    with transaction.atomic():
        if changes.name is not None:
            team = rename_team(user=user, team_id=team_id, name=changes.name)
        if changes.require_mfa is not None:
            team = require_mfa(user=user, team_id=team_id, required=changes.require_mfa)
    return _team_of(user, team)


@router.post(
    "/teams/{uuid:team_id}/delete",
    response=DeletedTeam,
    openapi_extra=takes(Deletion),
    summary="Delete a team; its owners may undo it for a week",
)
def post_deletion(request: HttpRequest, team_id: UUID) -> DeletedTeam:
    """Whoever sends it twice is told that there is no such team: no `Idempotency-Key` is kept."""
    user = require_user(request)
    access_team(user, team_id, MANAGE)
    name = read_body(request, Deletion).name
    team = delete_team(user=user, team_id=team_id, name=name)
    return DeletedTeam(id=team.pk, name=team.name, purged_after=purged_after(team))


@router.post(
    "/teams/{uuid:team_id}/restore", response=TeamBody, summary="Undo the deletion of a team"
)
def post_restoration(request: HttpRequest, team_id: UUID) -> TeamBody:
    """As for the deletion, there is nothing to keep."""
    user = require_user(request)
    return _team_of(user, restore_team(user=user, team_id=team_id))


@router.put(
    "/teams/{uuid:team_id}/owner",
    response=TeamBody,
    openapi_extra=takes(Heir),
    summary="Make somebody else owner, and step down to admin",
)
def put_owner(request: HttpRequest, team_id: UUID) -> TeamBody:
    user = require_user(request)
    team = access_team(user, team_id, MANAGE)
    heir = read_body(request, Heir).user
    hand_over_team(user=user, team_id=team_id, member_id=heir)
    return _team_of(user, team)


@router.get(
    "/teams/{uuid:team_id}/members", response=Page[TeamMemberBody], summary="Who is in a team"
)
def get_team_members(
    request: HttpRequest,
    team_id: UUID,
    limit: Limit = LONGEST_PAGE,
    cursor: Cursor = None,
) -> Page[TeamMemberBody]:
    user = require_user(request)
    seen = members_visible_to(user, access_team(user, team_id, VIEW))
    people = User.objects.filter(memberships__in=seen).prefetch_related(
        Prefetch("memberships", seen, to_attr="here")
    )
    return page_of(people, _member_here, limit=limit, cursor=cursor)


@router.patch(
    "/teams/{uuid:team_id}/members/{uuid:member_id}",
    response=TeamMemberBody,
    openapi_extra=takes(TeamMemberChanges),
    summary="Change somebody's role in a team, suspend them, or undo that",
)
def patch_team_member(request: HttpRequest, team_id: UUID, member_id: UUID) -> TeamMemberBody:
    user = require_user(request)
    team = access_team(user, team_id, MANAGE_PEOPLE)
    member = _member_of(team, member_id)
    changes = read_body(request, TeamMemberChanges).model_dump(exclude_unset=True)
    suspended = changes.get("suspended")
    with transaction.atomic():
        if suspended is False and member.suspended_at is not None:
            restore_team_member(user=user, team_id=team_id, member_id=member_id)
        if "role" in changes:
            set_team_role(user=user, team_id=team_id, member_id=member_id, role=changes["role"])
        if suspended and member.suspended_at is None:
            suspend_team_member(user=user, team_id=team_id, member_id=member_id)
    member = _member_of(team, member_id)
    return _member(member.user, member)


@router.delete(
    "/teams/{uuid:team_id}/members/{uuid:member_id}",
    response={204: None},
    summary="Remove somebody from a team, or leave it",
)
def delete_team_member(request: HttpRequest, team_id: UUID, member_id: UUID) -> None:
    remove_team_member(user=require_user(request), team_id=team_id, member_id=member_id)


@router.delete(
    "/teams/{uuid:team_id}/invitations/{uuid:invitation_id}",
    response={204: None},
    summary="Revoke an invitation",
)
def delete_invitation(request: HttpRequest, team_id: UUID, invitation_id: UUID) -> None:
    revoke_invitation(user=require_user(request), team_id=team_id, invitation_id=invitation_id)


@router.post(
    "/invitations/accept",
    response=TeamBody,
    openapi_extra=takes(Acceptance),
    summary="Accept an invitation",
)
def post_acceptance(request: HttpRequest) -> HttpResponse:
    user = require_user(request)
    check_not_team_bound(user.scope)
    token = read_body(request, Acceptance).token

    def accept() -> HttpResponse:
        member = accept_invitation(user=user, token=token)
        return answer(_team(member.team, member.role))

    return once(request, accept)


def _team_of(user: User, team: Team) -> TeamBody:
    return _team(team, role_in(team, user.pk))


def _team(team: Team, role: str) -> TeamBody:
    return TeamBody(
        id=team.pk,
        name=team.name,
        role=role,
        require_mfa=team.require_mfa,
        created_at=team.created_at,
    )


def _member_of(team: Team, member_id: UUID) -> TeamMember:
    """Return somebody of the team, whom those who ask may see even when they are suspended."""
    member = team.members.select_related("user").filter(user_id=member_id).first()
    if member is None:
        raise NotFound
    return member


def _member_here(user: Any) -> TeamMemberBody:  # Any: a user with the prefetched `here`
    return _member(user, user.here[0])


def _member(user: User, member: TeamMember) -> TeamMemberBody:
    return TeamMemberBody(
        user=user.pk,
        name=user.name,
        handle=user.handle,
        wood=user.wood,
        role=member.role,
        suspended=member.suspended_at is not None,
        joined_at=member.joined_at,
    )
