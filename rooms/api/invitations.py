"""The REST endpoints of the invitations to a team, which may lead into rooms of it, too."""

from datetime import timedelta
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Router
from pydantic import BaseModel, Field

from accounts.api.endpoints import (
    LONGEST_PAGE,
    Body,
    Cursor,
    Limit,
    Moment,
    Page,
    Time,
    answer,
    page_of,
    read_body,
    takes,
)
from accounts.api.idempotency import once
from accounts.api.teams import TeamRoleName
from accounts.models import Invitation
from accounts.permissions import MANAGE_PEOPLE, access_team, require_user
from accounts.services import invitation_url
from accounts.services.invitations import LIFETIME, MAX_USES
from rooms import services

router = Router(tags=["teams"])


class InvitationBody(BaseModel):
    """An invitation that still opens, without its secret."""

    id: UUID
    role: str
    email: str
    uses: int
    max_uses: int
    rooms: list[UUID]
    created_at: Time
    expires_at: Time


class NewInvitation(InvitationBody):
    """An invitation with its secret, which is in this one answer only."""

    token: str
    url: str


class InvitationWish(Body):
    """An invitation to be made; with an address it is mailed there, and is for that person only."""

    role: TeamRoleName = "member"
    email: str = Field("", max_length=254)
    max_uses: int = Field(1, ge=1, le=MAX_USES)
    expires_at: Moment | None = None
    rooms: list[UUID] = Field(default=[], max_length=100)

    @property
    def lifetime(self) -> timedelta:
        return LIFETIME if self.expires_at is None else self.expires_at - timezone.now()


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
    team = access_team(require_user(request), team_id, MANAGE_PEOPLE)
    usable = Invitation.objects.usable().filter(team=team).prefetch_related("rooms")
    return page_of(usable, _body, limit=limit, cursor=cursor)


@router.post(
    "/teams/{uuid:team_id}/invitations",
    response={201: NewInvitation},
    openapi_extra=takes(InvitationWish),
    summary="Invite somebody",
)
def post_invitation(request: HttpRequest, team_id: UUID) -> HttpResponse:
    user = require_user(request)
    access_team(user, team_id, MANAGE_PEOPLE)
    wish = read_body(request, InvitationWish)

    def make() -> HttpResponse:
        invitation, token = services.invite_into_rooms(
            user=user,
            team_id=team_id,
            room_ids=wish.rooms,
            role=wish.role,
            lifetime=wish.lifetime,
            max_uses=wish.max_uses,
            email=wish.email,
        )
        known = _body(invitation).model_dump()
        return answer(NewInvitation(**known, token=token, url=invitation_url(token)), 201)

    return once(request, make)


def _body(invitation: Invitation) -> InvitationBody:
    return InvitationBody(
        id=invitation.pk,
        role=invitation.role,
        email=invitation.email,
        uses=invitation.uses,
        max_uses=invitation.max_uses,
        rooms=[invited.room_id for invited in invitation.rooms.all()],
        created_at=invitation.created_at,
        expires_at=invitation.expires_at,
    )
