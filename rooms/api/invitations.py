"""The REST endpoints of invitations to a team and, with it, to rooms of the team."""

from typing import Annotated
from uuid import UUID

from django.utils import timezone
from msgspec import Meta, Struct, structs

from accounts.api.bodies import Body, Time
from accounts.api.pagination import MAX_PAGE, Cursor, Limit, Page, each, page_of
from accounts.api.routing import Gate, Routes
from accounts.api.teams import TeamRoleName, TeamRoleWord
from accounts.fields import Timestamp, format_timestamp
from accounts.models import Invitation, Team, User
from accounts.permissions import MANAGE_PEOPLE, access_team
from accounts.services import invitation_url, open_invitations
from accounts.services.invitations import LIFETIME, MAX_USES
from rooms import services

routes = Routes("teams")


class InvitationBody(Struct, frozen=True, kw_only=True):
    """A usable invitation, without its secret."""

    id: UUID
    role: TeamRoleWord
    email: str
    uses: int
    max_uses: int
    rooms: list[UUID]
    created_at: Timestamp
    expires_at: Timestamp


class NewInvitationBody(InvitationBody, frozen=True, kw_only=True):
    """A new invitation with its secret, which no other response contains."""

    token: str
    url: str


class InvitationCreate(Body, frozen=True):
    """A new invitation. With `email` it is mailed, and only that address can accept it."""

    role: TeamRoleName = "member"
    email: Annotated[str, Meta(max_length=254)] = ""
    max_uses: Annotated[int, Meta(ge=1, le=MAX_USES)] = 1
    expires_at: Time | None = None
    rooms: Annotated[tuple[UUID, ...], Meta(max_length=100)] = ()


@routes.add(
    "GET /teams/{uuid:team_id}/invitations",
    Gate(access_team, MANAGE_PEOPLE),
    summary="List the open invitations of a team",
)
def get_invitations(
    user: User, team: Team, limit: Limit = MAX_PAGE, cursor: Cursor = None
) -> Page[InvitationBody]:
    found = open_invitations(team).prefetch_related("rooms")
    return page_of(found, each(_invitation_body), limit=limit, cursor=cursor)


@routes.add(
    "POST /teams/{uuid:team_id}/invitations",
    Gate(access_team, MANAGE_PEOPLE),
    status=201,
    location="/teams/{team_id}/invitations/{id}",
    summary="Create an invitation",
)
def post_invitation(user: User, team: Team, body: InvitationCreate) -> NewInvitationBody:
    lifetime = LIFETIME if body.expires_at is None else body.expires_at - timezone.now()
    invitation, token = services.invite_into_rooms(
        user=user,
        team_id=team.pk,
        room_ids=body.rooms,
        role=body.role,
        lifetime=lifetime,
        max_uses=body.max_uses,
        email=body.email,
    )
    fields = structs.asdict(_invitation_body(invitation))
    return NewInvitationBody(**fields, token=token, url=invitation_url(token))


def _invitation_body(invitation: Invitation) -> InvitationBody:
    return InvitationBody(
        id=invitation.pk,
        role=invitation.role,
        email=invitation.email,
        uses=invitation.uses,
        max_uses=invitation.max_uses,
        rooms=[invited.room_id for invited in invitation.rooms.all()],
        created_at=format_timestamp(invitation.created_at),
        expires_at=format_timestamp(invitation.expires_at),
    )
