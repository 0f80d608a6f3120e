"""The REST endpoints of connections and personas. A key goes in and never comes out again."""

from typing import Any, Literal
from uuid import UUID

from django.db import transaction
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
from accounts.models import User
from accounts.permissions import CREATE_ROOM, access_team, require_user, team_permissions
from accounts.scopes import ADMIN
from agents import services
from agents.models import Connection, Persona, PersonaVersion
from agents.permissions import (
    EDIT,
    MANAGE,
    USE,
    VIEW,
    access_persona,
    granted_to,
    personas_visible_to,
    rights_in,
)

router = Router(tags=["agents"])

Kind = Literal["openai", "demo"]
PigmentName = Literal["noerok", "seokganju", "chija", "jaju", "cheonghoe", "meok"]
LatticeName = Literal["ttisal", "gyeoksal", "bitsal", "wanja", "yukmo", "kkotsal"]


class ConnectionBody(BaseModel):
    """A connection; of its key, no more than whether there is one."""

    id: UUID
    team: UUID
    name: str
    kind: str
    base_url: str
    has_key: bool
    models: list[str]
    created_at: Time


class ConnectionWish(Body):
    """A connection to be made; a demo needs no more than a name."""

    name: str = Field(min_length=1, max_length=80)
    kind: Kind
    base_url: str = Field("", max_length=400)
    key: str = Field("", max_length=1_000)
    models: list[str] = Field(default=[], max_length=200)


class ConnectionChanges(Body):
    """What may change about a connection; what is left out stays. An empty key forgets it."""

    name: str | None = Field(None, min_length=1, max_length=80)
    base_url: str | None = Field(None, max_length=400)
    key: str | None = Field(None, max_length=1_000)
    models: list[str] | None = Field(None, max_length=200)


class CheckBody(BaseModel):
    """What a check found, in one sentence, and the models that the provider lists."""

    ok: bool
    detail: str
    models: list[str]


class WholePersona(BaseModel):
    """A persona; how it is made is told to those who may edit it, and null to others."""

    id: UUID
    team: UUID
    name: str
    handle: str
    role: str
    goal: str
    pigment: str
    lattice: str
    enabled: bool
    version: int
    created_at: Time
    backstory: str | None
    instructions: str | None
    connection: UUID | None
    model: str | None
    temperature: float | None
    max_output_tokens: int | None


class PersonaWish(Body):
    """A persona to be made; without a handle it gets one from its name."""

    name: str = Field(min_length=1, max_length=40)
    handle: str = Field("", max_length=41)
    role: str = Field(min_length=1, max_length=80)
    goal: str = Field(min_length=1, max_length=400)
    backstory: str = Field("", max_length=2_000)
    instructions: str = Field("", max_length=8_000)
    connection: UUID
    model: str = Field(min_length=1, max_length=200)
    temperature: float | None = Field(None, ge=0, le=2)
    max_output_tokens: int | None = Field(None, ge=1, le=200_000)
    pigment: PigmentName = "noerok"
    lattice: LatticeName = "gyeoksal"


class PersonaChanges(Body):
    """What may change about a persona; what is left out stays.

    `version` is the one that the change was made to: where there is a newer one, it is a conflict.
    """

    name: str = Field("", min_length=1, max_length=40)
    handle: str = Field("", min_length=1, max_length=41)
    role: str = Field("", min_length=1, max_length=80)
    goal: str = Field("", min_length=1, max_length=400)
    backstory: str = Field("", max_length=2_000)
    instructions: str = Field("", max_length=8_000)
    connection: UUID | None = None
    model: str = Field("", min_length=1, max_length=200)
    temperature: float | None = Field(None, ge=0, le=2)
    max_output_tokens: int | None = Field(None, ge=1, le=200_000)
    pigment: PigmentName = "noerok"
    lattice: LatticeName = "gyeoksal"
    enabled: bool = True
    version: int | None = Field(None, ge=1)


class VersionBody(BaseModel):
    """What a persona was from one change to the next; `changed` names the fields."""

    number: int
    changed: list[str]
    fields: dict[str, Any]
    created_by: UUID | None
    created_at: Time


@router.get(
    "/teams/{uuid:team_id}/connections", response=Page[ConnectionBody], summary="Connections"
)
def get_connections(
    request: HttpRequest,
    team_id: UUID,
    limit: Limit = LONGEST_PAGE,
    cursor: Cursor = None,
) -> Page[ConnectionBody]:
    team = access_team(require_user(request), team_id, MANAGE)
    return page_of(team.connections.all(), _connection, limit=limit, cursor=cursor)


@router.post(
    "/teams/{uuid:team_id}/connections",
    response={201: ConnectionBody},
    openapi_extra=takes(ConnectionWish),
    summary="Add a connection",
)
def post_connection(request: HttpRequest, team_id: UUID) -> HttpResponse:
    user = require_user(request)
    access_team(user, team_id, MANAGE)
    wish = read_body(request, ConnectionWish).model_dump()
    # Before `once` begins a transaction: nobody else could write until the name is resolved.
    wish["base_url"] = services.check_base_url(kind=wish["kind"], base_url=wish["base_url"])

    def make() -> HttpResponse:
        made = services.create_connection(user=user, team_id=team_id, **wish)
        return answer(_connection(made), 201)

    return once(request, make)


@router.get(
    "/teams/{uuid:team_id}/connections/{uuid:connection_id}",
    response=ConnectionBody,
    summary="A connection",
)
def get_connection(request: HttpRequest, team_id: UUID, connection_id: UUID) -> ConnectionBody:
    return _connection(_connection_of(require_user(request), team_id, connection_id))


@router.patch(
    "/teams/{uuid:team_id}/connections/{uuid:connection_id}",
    response=ConnectionBody,
    openapi_extra=takes(ConnectionChanges),
    summary="Change a connection",
)
def patch_connection(request: HttpRequest, team_id: UUID, connection_id: UUID) -> ConnectionBody:
    user = require_user(request)
    _connection_of(user, team_id, connection_id)
    changes = read_body(request, ConnectionChanges).model_dump(exclude_unset=True)
    changed = services.update_connection(user=user, connection_id=connection_id, **changes)
    return _connection(changed)


@router.delete(
    "/teams/{uuid:team_id}/connections/{uuid:connection_id}",
    response={204: None},
    summary="Remove a connection and its key",
)
def delete_connection(request: HttpRequest, team_id: UUID, connection_id: UUID) -> None:
    user = require_user(request)
    _connection_of(user, team_id, connection_id)
    services.delete_connection(user=user, connection_id=connection_id)


@router.post(
    "/teams/{uuid:team_id}/connections/{uuid:connection_id}/check",
    response=CheckBody,
    summary="Try a connection as it is stored",
)
def post_check(request: HttpRequest, team_id: UUID, connection_id: UUID) -> CheckBody:
    """It changes nothing, so it may come as often as it likes: no `Idempotency-Key` is kept."""
    user = require_user(request)
    _connection_of(user, team_id, connection_id)
    found = services.check_connection(user=user, connection_id=connection_id)
    return CheckBody(ok=found.ok, detail=found.detail, models=list(found.models))


@router.get("/teams/{uuid:team_id}/personas", response=Page[WholePersona], summary="Personas")
def get_personas(
    request: HttpRequest,
    team_id: UUID,
    limit: Limit = LONGEST_PAGE,
    cursor: Cursor = None,
) -> Page[WholePersona]:
    user = require_user(request)
    team = access_team(user, team_id, VIEW)
    seen = personas_visible_to(user, team, team_wide=CREATE_ROOM in team_permissions(user, team))
    whole: set[UUID] = set()
    if _reaches_whole(user):
        whole.update(granted_to(user, EDIT, seen).values_list("pk", flat=True))

    def shape(persona: Persona) -> WholePersona:
        return _persona(persona, whole=persona.pk in whole)

    return page_of(seen, shape, limit=limit, cursor=cursor)


@router.post(
    "/teams/{uuid:team_id}/personas",
    response={201: WholePersona},
    openapi_extra=takes(PersonaWish),
    summary="Make a persona",
)
def post_persona(request: HttpRequest, team_id: UUID) -> HttpResponse:
    user = require_user(request)
    access_team(user, team_id, MANAGE)
    wish = read_body(request, PersonaWish)

    def make() -> HttpResponse:
        made = services.create_persona(user=user, team_id=team_id, **wish.model_dump())
        return answer(_persona(made, whole=True), 201)

    return once(request, make)


@router.get("/personas/{uuid:persona_id}", response=WholePersona, summary="A persona")
def get_persona(request: HttpRequest, persona_id: UUID) -> WholePersona:
    user = require_user(request)
    persona = access_persona(user, persona_id, USE)
    whole = _reaches_whole(user) and EDIT in rights_in(user, persona)
    return _persona(persona, whole=whole)


@router.patch(
    "/personas/{uuid:persona_id}",
    response=WholePersona,
    openapi_extra=takes(PersonaChanges),
    summary="Change a persona, as its next version",
)
def patch_persona(request: HttpRequest, persona_id: UUID) -> WholePersona:
    user = require_user(request)
    access_persona(user, persona_id, EDIT)
    changes = read_body(request, PersonaChanges).model_dump(exclude_unset=True)
    enabled = changes.pop("enabled", None)
    if changes.get("connection", ...) is None:
        del changes["connection"]  # a persona has one: null is as good as left out
    with transaction.atomic():
        persona = services.update_persona(user=user, persona_id=persona_id, **changes)
        if enabled is not None:
            persona = services.set_persona_enabled(
                user=user, persona_id=persona_id, enabled=enabled
            )
    return _persona(persona, whole=True)


@router.delete("/personas/{uuid:persona_id}", response={204: None}, summary="Remove a persona")
def remove_persona(request: HttpRequest, persona_id: UUID) -> None:
    services.delete_persona(user=require_user(request), persona_id=persona_id)


@router.get(
    "/personas/{uuid:persona_id}/versions",
    response=Page[VersionBody],
    summary="What a persona was, newest first",
)
def get_versions(
    request: HttpRequest,
    persona_id: UUID,
    limit: Limit = LONGEST_PAGE,
    cursor: Cursor = None,
) -> Page[VersionBody]:
    persona = access_persona(require_user(request), persona_id, EDIT)
    versions = persona.versions.all()
    return page_of(versions, _version, limit=limit, cursor=cursor, key="number")


@router.post(
    "/personas/{uuid:persona_id}/versions/{int:number}/restore",
    response=WholePersona,
    summary="Make an earlier version the newest one",
)
def post_restore(request: HttpRequest, persona_id: UUID, number: int) -> HttpResponse:
    user = require_user(request)
    access_persona(user, persona_id, EDIT)

    def restore() -> HttpResponse:
        restored = services.restore_persona(user=user, persona_id=persona_id, number=number)
        return answer(_persona(restored, whole=True))

    return once(request, restore)


def _connection_of(user: User, team_id: UUID, connection_id: UUID) -> Connection:
    """Return a connection of that very team: of another one it is as good as none."""
    team = access_team(user, team_id, MANAGE)
    connection = team.connections.filter(pk=connection_id).first()
    if connection is None:
        raise NotFound
    return connection


def _reaches_whole(user: User) -> bool:
    """How a persona is made is not for a credential that configures nothing."""
    return ADMIN in user.scope.names


def _connection(connection: Connection) -> ConnectionBody:
    return ConnectionBody(
        id=connection.pk,
        team=connection.team_id,
        name=connection.name,
        kind=connection.kind,
        base_url=connection.base_url,
        has_key=bool(connection.key_encrypted),
        models=connection.model_names,
        created_at=connection.created_at,
    )


def _persona(persona: Persona, *, whole: bool) -> WholePersona:
    return WholePersona(
        id=persona.pk,
        team=persona.team_id,
        name=persona.name,
        handle=persona.handle,
        role=persona.role,
        goal=persona.goal,
        pigment=persona.pigment,
        lattice=persona.lattice,
        enabled=persona.enabled,
        version=persona.version,
        created_at=persona.created_at,
        backstory=persona.backstory if whole else None,
        instructions=persona.instructions if whole else None,
        connection=persona.connection_id if whole else None,
        model=persona.model if whole else None,
        temperature=persona.temperature if whole else None,
        max_output_tokens=persona.max_output_tokens if whole else None,
    )


def _version(version: PersonaVersion) -> VersionBody:
    return VersionBody(
        number=version.number,
        changed=version.changed,
        fields=version.fields,
        created_by=version.created_by_id,
        created_at=version.created_at,
    )
