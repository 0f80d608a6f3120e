"""The REST endpoints of the grants of a persona."""

from typing import Annotated, Literal, get_args
from uuid import UUID

from msgspec import Meta, Struct

from accounts.api.bodies import Body
from accounts.api.routing import Gate, Routes
from accounts.api.teams import TeamRoleName, TeamRoleWord
from accounts.fields import one_of
from accounts.models import User
from agents.models import Persona
from agents.permissions import SHARE, access_persona
from agents.services import Grant, list_grants, put_grants

routes = Routes("agents")

Right = Literal["use", "edit", "manage", "share"]


class GrantUpdate(Body, frozen=True, kw_only=True):
    """Rights of a user or of a role; without both, rights of every member of the team."""

    user: UUID | None = None
    role: TeamRoleName | None = None
    rights: Annotated[tuple[Right, ...], Meta(min_length=1, max_length=4)]


class GrantsUpdate(Body, frozen=True):
    """All grants of a persona. Grants that are absent are revoked."""

    grants: Annotated[tuple[GrantUpdate, ...], Meta(max_length=200)]


class GrantBody(Struct, frozen=True):
    """Rights of a user or of a role; without both, rights of every member of the team."""

    user: UUID | None
    role: TeamRoleWord | None
    rights: list[Annotated[str, one_of(get_args(Right))]]


class GrantsBody(Struct, frozen=True):
    """All grants of a persona."""

    grants: list[GrantBody]


@routes.add(
    "GET /personas/{uuid:persona_id}/grants",
    Gate(access_persona, SHARE),
    summary="List the grants of a persona",
)
def get_grants_of_persona(user: User, persona: Persona) -> GrantsBody:
    return _grants_body(list_grants(persona))


@routes.add(
    "PUT /personas/{uuid:persona_id}/grants",
    Gate(access_persona, SHARE),
    summary="Replace the grants of a persona",
)
def put_grants_of_persona(user: User, persona: Persona, body: GrantsUpdate) -> GrantsBody:
    grants = [Grant(frozenset(each.rights), each.user, each.role or "") for each in body.grants]
    return _grants_body(put_grants(user=user, persona_id=persona.pk, grants=grants))


def _grants_body(grants: list[Grant]) -> GrantsBody:
    return GrantsBody(
        grants=[
            GrantBody(user=grant.user, role=grant.role or None, rights=sorted(grant.rights))
            for grant in grants
        ]
    )
