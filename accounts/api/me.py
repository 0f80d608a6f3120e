"""The REST endpoints of the current user and of the user's tokens."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta, Struct, structs

from accounts.api.bodies import Body, Time
from accounts.api.pagination import MAX_PAGE, Cursor, Limit, Page, each, page_of
from accounts.api.routing import Gate, Routes
from accounts.errors import NotFound
from accounts.fields import Timestamp, format_timestamp, one_of
from accounts.models import ApiToken, Team, TeamMember, TeamRole, User, Wood
from accounts.permissions import VIEW, access_team
from accounts.scopes import ADMIN, SCOPES, Scope, check_not_team_bound, check_scope, implied_scopes
from accounts.services import create_token, revoke_token, update_profile
from accounts.services.tokens import check_can_create_token

routes = Routes("me")

ScopeName = Literal["read", "write", "admin"]
WoodWord = Annotated[str, one_of(Wood.values)]
WoodName = Literal["pine", "zelkova", "paulownia", "persimmon"]


class MembershipBody(Struct, frozen=True):
    """A team of the user, and the user's role in it."""

    id: UUID
    name: str
    role: Annotated[str, one_of(TeamRole.values)]


class MeBody(Struct, frozen=True, kw_only=True):
    """The current user. Other users never see the address."""

    id: UUID
    email: str
    name: str
    handle: str
    wood: WoodWord
    created_at: Timestamp
    teams: list[MembershipBody]


class MeUpdate(Body, frozen=True):
    """Changes to the current user. A field that is absent or null does not change."""

    name: Annotated[str, Meta(min_length=1, max_length=40)] | None = None
    wood: WoodName | None = None


class TokenBody(Struct, frozen=True, kw_only=True):
    """A token without its secret; `hint` is the end of the secret."""

    id: UUID
    name: str
    scopes: list[Annotated[str, one_of(SCOPES)]]
    team: UUID | None
    hint: str
    created_at: Timestamp
    expires_at: Timestamp | None


class NewTokenBody(TokenBody, frozen=True, kw_only=True):
    """A new token with its secret, which no other response contains."""

    token: str


class TokenCreate(Body, frozen=True):
    """A new token. With `team` it is bound to that team."""

    name: Annotated[str, Meta(min_length=1, max_length=80)]
    scopes: Annotated[tuple[ScopeName, ...], Meta(min_length=1)] = ("read", "write")
    team: UUID | None = None
    expires_at: Time | None = None


def check_account_access(user: User) -> None:
    """Raise Forbidden for a token that is bound to a team: it may not act on the account."""
    check_not_team_bound(user.scope)


def _check_admin(user: User) -> None:
    check_scope(user.scope, ADMIN)


@routes.add("GET /me", summary="Get the current user")
def get_me(user: User) -> MeBody:
    return _me_body(user)


@routes.add("PATCH /me", check=check_account_access, summary="Update the current user")
def patch_me(user: User, body: MeUpdate) -> MeBody:
    return _me_body(update_profile(user=user, name=body.name, wood=body.wood))


@routes.add("GET /me/tokens", check=_check_admin, summary="List the tokens of the current user")
def get_tokens(user: User, limit: Limit = MAX_PAGE, cursor: Cursor = None) -> Page[TokenBody]:
    tokens = ApiToken.objects.in_scope_of(user)
    return page_of(tokens, each(_token_body), limit=limit, cursor=cursor)


def _check_new_token(user: User, body: TokenCreate, _path: Mapping[str, Any]) -> TokenCreate:
    """Raise Forbidden for a token that exceeds the credentials in use.

    Runs before the stored response is replayed: it contains the secret of a token.
    """
    check_can_create_token(user, Scope(implied_scopes(body.scopes), body.team, body.expires_at))
    return body


@routes.add(
    "POST /me/tokens",
    check=_check_admin,
    prepare=_check_new_token,
    status=201,
    location="/me/tokens/{id}",
    errors=(NotFound,),
    summary="Create a token",
)
def post_token(user: User, body: TokenCreate) -> NewTokenBody:
    token, secret = create_token(
        user=user,
        name=body.name,
        scopes=body.scopes,
        team=access_team(user, body.team, VIEW) if body.team else None,
        expires_at=body.expires_at,
    )
    return NewTokenBody(**structs.asdict(_token_body(token)), token=secret)


def _access_token(user: User, token_id: UUID) -> None:
    check_scope(user.scope, ADMIN)
    if not ApiToken.objects.in_scope_of(user).filter(pk=token_id).exists():
        raise NotFound


@routes.add(
    "DELETE /me/tokens/{uuid:token_id}",
    gate_if_invalid=Gate(_access_token),
    summary="Revoke a token",
)
def delete_token(user: User, token_id: UUID) -> None:
    revoke_token(user=user, token_id=token_id)


def _me_body(user: User) -> MeBody:
    teams = Team.objects.visible_to(user)
    memberships = TeamMember.objects.filter(user=user, team__in=teams).select_related("team")
    return MeBody(
        id=user.pk,
        email=user.email,
        name=user.name,
        handle=user.handle,
        wood=user.wood,
        created_at=format_timestamp(user.date_joined),
        teams=[
            MembershipBody(id=member.team_id, name=member.team.name, role=member.role)
            for member in memberships.order_by("team__name", "team_id")
        ],
    )


def _token_body(token: ApiToken) -> TokenBody:
    return TokenBody(
        id=token.pk,
        name=token.name,
        scopes=token.scopes,
        team=token.team_id,
        hint=token.hint,
        created_at=format_timestamp(token.created_at),
        expires_at=format_timestamp(token.expires_at) if token.expires_at else None,
    )
