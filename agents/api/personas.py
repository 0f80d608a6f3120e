"""The REST endpoints of personas and their versions."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from django.db import transaction
from msgspec import UNSET, Meta, Struct, UnsetType

from accounts.api.bodies import Body
from accounts.api.pagination import MAX_PAGE, Cursor, Limit, Page, Words, each, page_of
from accounts.api.routing import Gate, Routes
from accounts.errors import Conflict
from accounts.fields import Timestamp, format_timestamp, one_of
from accounts.models import Team, User
from accounts.permissions import CREATE_ROOM, access_team, team_permissions
from accounts.scopes import ADMIN
from agents import services
from agents.api.tools import PersonaToolBody
from agents.models import Lattice, Persona, PersonaVersion, Pigment
from agents.permissions import (
    CHANGE,
    EDIT,
    MANAGE,
    USE,
    VIEW,
    access_persona,
    granted_to,
    matching_personas,
    personas_visible_to,
    rights_in,
)

routes = Routes("agents")

PersonaName = Annotated[str, Meta(min_length=1, max_length=40)]
PersonaRole = Annotated[str, Meta(min_length=1, max_length=80)]
Goal = Annotated[str, Meta(min_length=1, max_length=400)]
Backstory = Annotated[str, Meta(max_length=2_000)]
Instructions = Annotated[str, Meta(max_length=8_000)]
ModelName = Annotated[str, Meta(min_length=1, max_length=200)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
MaxOutputTokens = Annotated[int, Meta(ge=1, le=200_000)]
PigmentName = Literal["noerok", "seokganju", "chija", "jaju", "cheonghoe", "meok"]
LatticeName = Literal["ttisal", "gyeoksal", "bitsal", "wanja", "yukmo", "kkotsal"]


class PersonaDetailBody(Struct, frozen=True, kw_only=True):
    """A persona. The fields from `backstory` on are null for a user who may not edit it."""

    id: UUID
    team: UUID
    name: str
    handle: str
    role: str
    goal: str
    pigment: Annotated[str, one_of(Pigment.values)]
    lattice: Annotated[str, one_of(Lattice.values)]
    enabled: bool
    version: int
    created_at: Timestamp
    backstory: str | None
    instructions: str | None
    connection: UUID | None
    model: str | None
    temperature: float | None
    max_output_tokens: int | None


class PersonaCreate(Body, frozen=True, kw_only=True):
    """A new persona. Without a handle, the handle is derived from the name.

    Without `pigment` or `lattice`, the persona gets one that few personas of the team have.
    """

    name: PersonaName
    handle: Annotated[str, Meta(max_length=41)] = ""
    role: PersonaRole
    goal: Goal
    backstory: Backstory = ""
    instructions: Instructions = ""
    connection: UUID
    model: ModelName
    temperature: Temperature | None = None
    max_output_tokens: MaxOutputTokens | None = None
    pigment: PigmentName | UnsetType = UNSET
    lattice: LatticeName | UnsetType = UNSET


class PersonaImport(Body, frozen=True, kw_only=True):
    """Personas as YAML of at most 256 KB: CrewAI's `agents.yaml`, or a list of our own fields.

    With CrewAI's `tasks.yaml`, the descriptions of its tasks become instructions of a persona. An
    entry may name a model of the connection (`llm` or `model`). Without `connection`, the personas
    get the first one of the team; without `model`, its first model. A request in YAML
    (`Content-Type: application/yaml`) is `agents` alone.
    """

    agents: str
    tasks: str | UnsetType = UNSET
    connection: UUID | UnsetType = UNSET
    model: ModelName | UnsetType = UNSET


class ImportedBody(Struct, frozen=True):
    """Imported personas, in the order of their tasks if `in_turn` is true.

    `ignored` names, for each entry, the fields that a persona does not have.
    """

    personas: list[PersonaDetailBody]
    in_turn: bool
    ignored: dict[str, list[str]]


class PersonaUpdate(Body, frozen=True):
    """Changes to a persona. An absent field does not change.

    `version` is the version that the client has read; a newer one causes a `conflict`.
    """

    name: PersonaName | UnsetType = UNSET
    handle: Annotated[str, Meta(min_length=1, max_length=41)] | UnsetType = UNSET
    role: PersonaRole | UnsetType = UNSET
    goal: Goal | UnsetType = UNSET
    backstory: Backstory | UnsetType = UNSET
    instructions: Instructions | UnsetType = UNSET
    connection: UUID | UnsetType | None = UNSET
    model: ModelName | UnsetType = UNSET
    temperature: Temperature | UnsetType | None = UNSET
    max_output_tokens: MaxOutputTokens | UnsetType | None = UNSET
    pigment: PigmentName | UnsetType = UNSET
    lattice: LatticeName | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    version: Annotated[int, Meta(ge=1)] | UnsetType | None = UNSET


class PersonaFieldsBody(Struct, frozen=True, kw_only=True):
    """The fields of a persona that have versions; older versions lack the fields added later."""

    name: str | UnsetType = UNSET
    handle: str | UnsetType = UNSET
    role: str | UnsetType = UNSET
    goal: str | UnsetType = UNSET
    backstory: str | UnsetType = UNSET
    instructions: str | UnsetType = UNSET
    connection: UUID | UnsetType = UNSET
    model: str | UnsetType = UNSET
    temperature: float | UnsetType | None = UNSET
    max_output_tokens: int | UnsetType | None = UNSET
    pigment: Annotated[str, one_of(Pigment.values)] | UnsetType = UNSET
    lattice: Annotated[str, one_of(Lattice.values)] | UnsetType = UNSET
    tools: list[PersonaToolBody] | UnsetType = UNSET


class PersonaVersionBody(Struct, frozen=True, kw_only=True):
    """The fields of a persona in one version; `changed` names the fields that it changed."""

    number: int
    changed: list[str]
    fields: PersonaFieldsBody
    created_by: UUID | None
    created_at: Timestamp


@routes.add(
    "GET /teams/{uuid:team_id}/personas",
    Gate(access_team, VIEW),
    summary="List the personas of a team",
)
def get_personas(
    user: User, team: Team, limit: Limit = MAX_PAGE, cursor: Cursor = None, *, q: Words = ""
) -> Page[PersonaDetailBody]:
    team_wide = CREATE_ROOM in team_permissions(user, team)
    visible = matching_personas(personas_visible_to(user, team, team_wide=team_wide), q)
    editable: set[UUID] = set()
    if _has_admin_scope(user):
        editable.update(granted_to(user, EDIT, visible).values_list("pk", flat=True))

    def body(persona: Persona) -> PersonaDetailBody:
        return _persona_body(persona, editable=persona.pk in editable)

    return page_of(visible, each(body), limit=limit, cursor=cursor)


@routes.add(
    "POST /teams/{uuid:team_id}/personas",
    Gate(access_team, MANAGE),
    status=201,
    location="/personas/{id}",
    summary="Create a persona",
)
def post_persona(user: User, team: Team, body: PersonaCreate) -> PersonaDetailBody:
    persona = services.create_persona(user=user, team_id=team.pk, **body.changes())
    return _persona_body(persona, editable=True)


@routes.add(
    "POST /teams/{uuid:team_id}/personas/import",
    Gate(access_team, MANAGE),
    errors=(Conflict,),
    status=201,
    location="/teams/{team_id}/personas",
    yaml_field="agents",
    summary="Import personas from YAML: all of them, or none",
)
def post_import(user: User, team: Team, body: PersonaImport) -> ImportedBody:
    """An error names each wrong field by its entry: `researcher.goal`."""
    imported = services.import_personas(user=user, team_id=team.pk, **body.changes())
    personas = [_persona_body(persona, editable=True) for persona in imported.personas]
    return ImportedBody(personas, imported.in_turn, imported.ignored)


@routes.add("GET /personas/{uuid:persona_id}", Gate(access_persona, USE), summary="Get a persona")
def get_persona(user: User, persona: Persona) -> PersonaDetailBody:
    editable = _has_admin_scope(user) and EDIT in rights_in(user, persona)
    return _persona_body(persona, editable=editable)


@routes.add(
    "PATCH /personas/{uuid:persona_id}",
    Gate(access_persona, EDIT),
    errors=(Conflict,),
    summary="Update a persona; creates its next version",
)
def patch_persona(user: User, persona: Persona, body: PersonaUpdate) -> PersonaDetailBody:
    changes = body.changes()
    enabled = changes.pop("enabled", None)
    if changes.get("connection", ...) is None:
        del changes["connection"]  # a persona always has a connection: null means no change
    with transaction.atomic():
        changed = services.update_persona(user=user, persona_id=persona.pk, **changes)
        if enabled is not None:
            changed = services.set_persona_enabled(
                user=user, persona_id=persona.pk, enabled=enabled
            )
    return _persona_body(changed, editable=True)


@routes.add(
    "DELETE /personas/{uuid:persona_id}",
    gate_if_invalid=Gate(access_persona, CHANGE),
    summary="Delete a persona",
)
def remove_persona(user: User, persona_id: UUID) -> None:
    services.delete_persona(user=user, persona_id=persona_id)


@routes.add(
    "GET /personas/{uuid:persona_id}/versions",
    Gate(access_persona, EDIT),
    summary="List the versions of a persona, newest first",
)
def get_versions(
    user: User, persona: Persona, limit: Limit = MAX_PAGE, cursor: Cursor = None
) -> Page[PersonaVersionBody]:
    versions = persona.versions.all()
    return page_of(versions, each(_version_body), limit=limit, cursor=cursor, key="number")


@routes.add(
    "POST /personas/{uuid:persona_id}/versions/{int:number}/restore",
    Gate(access_persona, EDIT),
    summary="Restore a version of a persona as a new version",
)
def post_restore(user: User, persona: Persona, number: int) -> PersonaDetailBody:
    restored = services.restore_persona(user=user, persona_id=persona.pk, number=number)
    return _persona_body(restored, editable=True)


def _has_admin_scope(user: User) -> bool:
    """Return True if the credential may read how a persona is configured."""
    return ADMIN in user.scope.names


def _persona_body(persona: Persona, *, editable: bool) -> PersonaDetailBody:
    return PersonaDetailBody(
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
        created_at=format_timestamp(persona.created_at),
        backstory=persona.backstory if editable else None,
        instructions=persona.instructions if editable else None,
        connection=persona.connection_id if editable else None,
        model=persona.model if editable else None,
        temperature=persona.temperature if editable else None,
        max_output_tokens=persona.max_output_tokens if editable else None,
    )


def _version_body(version: PersonaVersion) -> PersonaVersionBody:
    return PersonaVersionBody(
        number=version.number,
        changed=version.changed,
        fields=msgspec.convert(version.fields, PersonaFieldsBody),
        created_by=version.created_by_id,
        created_at=format_timestamp(version.created_at),
    )
