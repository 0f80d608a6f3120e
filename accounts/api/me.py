"""The REST endpoints of oneself and one's tokens."""

from typing import Literal
from uuid import UUID

from django.http import HttpRequest, HttpResponse
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
from accounts.models import ApiToken, Team, TeamMember, User
from accounts.permissions import VIEW, access_team, require_user
from accounts.scopes import ADMIN, Scope, check_not_team_bound, check_scope, implied_scopes
from accounts.services import create_token, revoke_token, update_profile
from accounts.services.tokens import check_can_create_token

router = Router(tags=["me"])

ScopeName = Literal["read", "write", "admin"]
WoodName = Literal["pine", "zelkova", "paulownia", "persimmon"]


class TeamOfMine(BaseModel):
    """A team that one is in, and as what."""

    id: UUID
    name: str
    role: str


class Me(BaseModel):
    """Oneself. Others never see the address."""

    id: UUID
    email: str
    name: str
    handle: str
    wood: str
    created_at: Time
    teams: list[TeamOfMine]


class MeChanges(Body):
    """What one may change about oneself."""

    name: str | None = Field(None, min_length=1, max_length=40)
    wood: WoodName | None = None


class Token(BaseModel):
    """A token without its secret; `hint` is how that ends."""

    id: UUID
    name: str
    scopes: list[str]
    team: UUID | None
    hint: str
    created_at: Time
    expires_at: Time | None


class NewToken(Token):
    """A token with its secret, which is in this one answer only."""

    token: str


class TokenWish(Body):
    """A token to be made."""

    name: str = Field(min_length=1, max_length=80)
    scopes: list[ScopeName] = Field(default=["read", "write"], min_length=1)
    team: UUID | None = None
    expires_at: Moment | None = None


@router.get("/me", response=Me, summary="Who am I")
def get_me(request: HttpRequest) -> Me:
    return _me(require_user(request))


@router.patch("/me", response=Me, openapi_extra=takes(MeChanges), summary="Change myself")
def patch_me(request: HttpRequest) -> Me:
    user = require_user(request)
    check_not_team_bound(user.scope)
    changes = read_body(request, MeChanges)
    return _me(update_profile(user=user, name=changes.name, wood=changes.wood))


@router.get("/me/tokens", response=Page[Token], summary="My tokens")
def get_tokens(
    request: HttpRequest,
    limit: Limit = LONGEST_PAGE,
    cursor: Cursor = None,
) -> Page[Token]:
    user = require_user(request)
    check_scope(user.scope, ADMIN)
    return page_of(ApiToken.objects.in_scope_of(user), _token, limit=limit, cursor=cursor)


@router.post(
    "/me/tokens", response={201: NewToken}, openapi_extra=takes(TokenWish), summary="Make a token"
)
def post_token(request: HttpRequest) -> HttpResponse:
    user = require_user(request)
    check_scope(user.scope, ADMIN)
    wish = read_body(request, TokenWish)
    # What may not be made is not told again either, to whoever shows the key of who may.
    check_can_create_token(user, Scope(implied_scopes(wish.scopes), wish.team, wish.expires_at))

    def make() -> HttpResponse:
        token, secret = create_token(
            user=user,
            name=wish.name,
            scopes=wish.scopes,
            team=access_team(user, wish.team, VIEW) if wish.team else None,
            expires_at=wish.expires_at,
        )
        return answer(NewToken(**_token(token).model_dump(), token=secret), 201)

    return once(request, make)


@router.delete("/me/tokens/{uuid:token_id}", response={204: None}, summary="Revoke a token")
def delete_token(request: HttpRequest, token_id: UUID) -> None:
    revoke_token(user=require_user(request), token_id=token_id)


def _me(user: User) -> Me:
    teams = Team.objects.visible_to(user)
    memberships = TeamMember.objects.filter(user=user, team__in=teams).select_related("team")
    return Me(
        id=user.pk,
        email=user.email,
        name=user.name,
        handle=user.handle,
        wood=user.wood,
        created_at=user.date_joined,
        teams=[
            TeamOfMine(id=member.team_id, name=member.team.name, role=member.role)
            for member in memberships.order_by("team__name", "team_id")
        ],
    )


def _token(token: ApiToken) -> Token:
    return Token(
        id=token.pk,
        name=token.name,
        scopes=token.scopes,
        team=token.team_id,
        hint=token.hint,
        created_at=token.created_at,
        expires_at=token.expires_at,
    )
