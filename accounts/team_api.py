"""The REST endpoints of teams, who is in them, and the invitations to them."""

from typing import Any, Literal
from uuid import UUID

from django.conf import settings
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from ninja import Router
from pydantic import BaseModel, Field

from accounts.gate import MANAGE, MANAGE_PEOPLE, VIEW, access_team, signed_in
from accounts.idempotency import once
from accounts.models import Invitation, Team, TeamMember, User
from accounts.reach import check_unbound
from accounts.rest import (
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
from accounts.services import (
    accept_invitation,
    create_team,
    invite,
    remove_team_member,
    rename_team,
    revoke_invitation,
    set_team_role,
)
from accounts.services.teams import members_seen_by, role_in

router = Router(tags=["teams"])

TeamRoleName = Literal["owner", "admin", "member", "guest"]


class TeamBody(BaseModel):
    """A team, and as what one is in it oneself."""

    id: UUID
    name: str
    role: str
    created_at: Time


class TeamWish(Body):
    """A team to be made; whoever makes it owns it."""

    name: str = Field(min_length=1, max_length=80)


class TeamChanges(Body):
    """What may change about a team; what is left out stays."""

    name: str | None = Field(None, min_length=1, max_length=80)


class TeamMemberBody(BaseModel):
    """Somebody in a team; their address is nobody else's."""

    user: UUID
    name: str
    handle: str
    wood: str
    role: str
    joined_at: Time


class TeamMemberChanges(Body):
    """As what somebody is to be in the team."""

    role: TeamRoleName


class InvitationBody(BaseModel):
    """An invitation that still opens, without its secret."""

    id: UUID
    role: str
    created_at: Time
    expires_at: Time


class NewInvitation(InvitationBody):
    """An invitation with its secret, which is in this one answer only."""

    token: str
    url: str


class InvitationWish(Body):
    """An invitation to be made."""

    role: TeamRoleName = "member"


class Acceptance(Body):
    """The secret of an invitation."""

    token: str = Field(min_length=1, max_length=200)


@router.get("/teams", response=Page[TeamBody], summary="My teams")
def get_teams(
    request: HttpRequest, limit: Limit = LONGEST_PAGE, cursor: Cursor = None
) -> Page[TeamBody]:
    user = signed_in(request)
    teams = Team.objects.of(user)
    roles = dict(
        TeamMember.objects.filter(user=user, team__in=teams).values_list("team_id", "role")
    )
    return page_of(teams, lambda team: _team(team, roles[team.pk]), limit=limit, cursor=cursor)


@router.post("/teams", response={201: TeamBody}, openapi_extra=takes(TeamWish), summary="Make one")
def post_team(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    check_unbound(user)
    wish = read_body(request, TeamWish)

    def make() -> HttpResponse:
        return answer(_team_of(user, create_team(user=user, name=wish.name)), 201)

    return once(request, make)


@router.get("/teams/{uuid:team_id}", response=TeamBody, summary="A team")
def get_team(request: HttpRequest, team_id: UUID) -> TeamBody:
    user = signed_in(request)
    return _team_of(user, access_team(user, team_id, VIEW))


@router.patch(
    "/teams/{uuid:team_id}",
    response=TeamBody,
    openapi_extra=takes(TeamChanges),
    summary="Change a team",
)
def patch_team(request: HttpRequest, team_id: UUID) -> TeamBody:
    user = signed_in(request)
    team = access_team(user, team_id, MANAGE)
    name = read_body(request, TeamChanges).name
    if name is not None:
        team = rename_team(user=user, team_id=team_id, name=name)
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
    user = signed_in(request)
    seen = members_seen_by(user, access_team(user, team_id, VIEW))
    people = User.objects.filter(memberships__in=seen).prefetch_related(
        Prefetch("memberships", seen, to_attr="here")
    )
    return page_of(people, _member_here, limit=limit, cursor=cursor)


@router.patch(
    "/teams/{uuid:team_id}/members/{uuid:member_id}",
    response=TeamMemberBody,
    openapi_extra=takes(TeamMemberChanges),
    summary="Change somebody's role in a team",
)
def patch_team_member(request: HttpRequest, team_id: UUID, member_id: UUID) -> TeamMemberBody:
    user = signed_in(request)
    role_in(access_team(user, team_id, MANAGE_PEOPLE), User(pk=member_id))
    role = read_body(request, TeamMemberChanges).role
    member = set_team_role(user=user, team_id=team_id, member_id=member_id, role=role)
    return _member(member.user, member)


@router.delete(
    "/teams/{uuid:team_id}/members/{uuid:member_id}",
    response={204: None},
    summary="Remove somebody from a team, or leave it",
)
def delete_team_member(request: HttpRequest, team_id: UUID, member_id: UUID) -> None:
    remove_team_member(user=signed_in(request), team_id=team_id, member_id=member_id)


@router.get(
    "/teams/{uuid:team_id}/invitations",
    response=Page[InvitationBody],
    summary="The invitations that still open",
)
def get_invitations(
    request: HttpRequest,
    team_id: UUID,
    limit: Limit = LONGEST_PAGE,
    cursor: Cursor = None,
) -> Page[InvitationBody]:
    team = access_team(signed_in(request), team_id, MANAGE_PEOPLE)
    usable = Invitation.objects.usable().filter(team=team)
    return page_of(usable, _invitation, limit=limit, cursor=cursor)


@router.post(
    "/teams/{uuid:team_id}/invitations",
    response={201: NewInvitation},
    openapi_extra=takes(InvitationWish),
    summary="Invite somebody",
)
def post_invitation(request: HttpRequest, team_id: UUID) -> HttpResponse:
    user = signed_in(request)
    access_team(user, team_id, MANAGE_PEOPLE)
    wish = read_body(request, InvitationWish)

    def make() -> HttpResponse:
        invitation, token = invite(user=user, team_id=team_id, role=wish.role)
        url = settings.PUBLIC_URL.rstrip("/") + reverse("accounts:invitation_link", args=[token])
        known = _invitation(invitation).model_dump()
        return answer(NewInvitation(**known, token=token, url=url), 201)

    return once(request, make)


@router.delete(
    "/teams/{uuid:team_id}/invitations/{uuid:invitation_id}",
    response={204: None},
    summary="Revoke an invitation",
)
def delete_invitation(request: HttpRequest, team_id: UUID, invitation_id: UUID) -> None:
    revoke_invitation(user=signed_in(request), team_id=team_id, invitation_id=invitation_id)


@router.post(
    "/invitations/accept",
    response=TeamBody,
    openapi_extra=takes(Acceptance),
    summary="Accept an invitation",
)
def post_acceptance(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    check_unbound(user)
    token = read_body(request, Acceptance).token

    def accept() -> HttpResponse:
        member = accept_invitation(user=user, token=token)
        return answer(_team(member.team, member.role))

    return once(request, accept)


def _team_of(user: User, team: Team) -> TeamBody:
    return _team(team, role_in(team, user))


def _team(team: Team, role: str) -> TeamBody:
    return TeamBody(id=team.pk, name=team.name, role=role, created_at=team.created_at)


def _member_here(user: Any) -> TeamMemberBody:  # Any: a user with the prefetched `here`
    return _member(user, user.here[0])


def _member(user: User, member: TeamMember) -> TeamMemberBody:
    return TeamMemberBody(
        user=user.pk,
        name=user.name,
        handle=user.handle,
        wood=user.wood,
        role=member.role,
        joined_at=member.joined_at,
    )


def _invitation(invitation: Invitation) -> InvitationBody:
    return InvitationBody(
        id=invitation.pk,
        role=invitation.role,
        created_at=invitation.created_at,
        expires_at=invitation.expires_at,
    )
