"""The REST endpoint of who may do what with a persona."""

from typing import Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Router
from pydantic import BaseModel, Field

from accounts.api.endpoints import Body, read_body, takes
from accounts.api.teams import TeamRoleName
from accounts.permissions import require_user
from agents.permissions import SHARE, access_persona
from agents.services import Grant, list_grants, put_grants

router = Router(tags=["agents"])

Right = Literal["use", "edit", "manage", "share"]


class GrantWish(Body):
    """Rights of a person, of a role in the team, or of the whole team where neither is named."""

    user: UUID | None = None
    role: TeamRoleName | None = None
    rights: list[Right] = Field(min_length=1, max_length=4)


class GrantsWish(Body):
    """All grants of a persona; what is left out is taken away."""

    grants: list[GrantWish] = Field(max_length=200)


class GrantBody(BaseModel):
    """What is granted to whom."""

    user: UUID | None
    role: str | None
    rights: list[str]


class Grants(BaseModel):
    """All grants of a persona."""

    grants: list[GrantBody]


@router.get(
    "/personas/{uuid:persona_id}/grants",
    response=Grants,
    summary="Who may do what with a persona",
)
def get_grants_of_persona(request: HttpRequest, persona_id: UUID) -> Grants:
    return _body(list_grants(access_persona(require_user(request), persona_id, SHARE)))


@router.put(
    "/personas/{uuid:persona_id}/grants",
    response=Grants,
    openapi_extra=takes(GrantsWish),
    summary="Say who may do what with a persona",
)
def put_grants_of_persona(request: HttpRequest, persona_id: UUID) -> Grants:
    user = require_user(request)
    access_persona(user, persona_id, SHARE)
    wish = read_body(request, GrantsWish)
    wanted = [Grant(frozenset(one.rights), one.user, one.role or "") for one in wish.grants]
    return _body(put_grants(user=user, persona_id=persona_id, grants=wanted))


def _body(grants: list[Grant]) -> Grants:
    return Grants(
        grants=[
            GrantBody(user=one.user, role=one.role or None, rights=sorted(one.rights))
            for one in grants
        ]
    )
