"""The REST endpoints of connections. Requests can set a key; no response contains a key."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta, Struct, structs

from accounts.api.bodies import Body
from accounts.api.pagination import MAX_PAGE, Cursor, Limit, Page, Words, each, page_of
from accounts.api.routing import Gate, Routes
from accounts.errors import Conflict, NotFound
from accounts.fields import Timestamp, format_timestamp, one_of
from accounts.models import Team, User
from accounts.permissions import access_team
from agents import services
from agents.models import Connection, ConnectionKind
from agents.permissions import MANAGE, matching_connections

routes = Routes("agents")

ConnectionName = Annotated[str, Meta(min_length=1, max_length=80)]
BaseUrl = Annotated[str, Meta(max_length=400)]
Key = Annotated[str, Meta(max_length=1_000)]
ModelNames = Annotated[tuple[str, ...], Meta(max_length=200)]


class ConnectionBody(Struct, frozen=True, kw_only=True):
    """A connection to a provider. `has_key` is true if a key is stored."""

    id: UUID
    team: UUID
    name: str
    kind: Annotated[str, one_of(ConnectionKind.values)]
    base_url: str
    has_key: bool
    models: list[str]
    created_at: Timestamp


class ConnectionCreate(Body, frozen=True):
    """A new connection. The kind `demo` needs only a name."""

    name: ConnectionName
    kind: Literal["openai", "demo"]
    base_url: BaseUrl = ""
    key: Key = ""
    models: ModelNames = ()


class ConnectionUpdate(Body, frozen=True):
    """Changes to a connection. A field that is absent or null does not change.

    An empty key deletes the stored key.
    """

    name: ConnectionName | None = None
    base_url: BaseUrl | None = None
    key: Key | None = None
    models: ModelNames | None = None


class ConnectionCheckBody(Struct, frozen=True):
    """The result of a check: one sentence, and the models that the provider lists."""

    ok: bool
    detail: str
    models: list[str]


def _access_connection(user: User, team_id: UUID, connection_id: UUID) -> Connection:
    """Return a connection of this team; raises NotFound for a connection of another team."""
    team = access_team(user, team_id, MANAGE)
    connection = team.connections.filter(pk=connection_id).first()
    if connection is None:
        raise NotFound
    return connection


@routes.add(
    "GET /teams/{uuid:team_id}/connections",
    Gate(access_team, MANAGE),
    summary="List the connections of a team",
)
def get_connections(
    user: User, team: Team, limit: Limit = MAX_PAGE, cursor: Cursor = None, *, q: Words = ""
) -> Page[ConnectionBody]:
    found = matching_connections(team.connections.all(), q)
    return page_of(found, each(_connection_body), limit=limit, cursor=cursor)


def _resolve_host(user: User, body: ConnectionCreate, _path: Mapping[str, Any]) -> ConnectionCreate:
    """Return the body with its checked base URL.

    Runs before the transaction: on SQLite, a transaction that resolves a host name would block all
    other writers until the host is resolved.
    """
    url = services.check_base_url(kind=body.kind, base_url=body.base_url)
    return structs.replace(body, base_url=url)


@routes.add(
    "POST /teams/{uuid:team_id}/connections",
    Gate(access_team, MANAGE),
    prepare=_resolve_host,
    status=201,
    location="/teams/{team_id}/connections/{id}",
    summary="Create a connection",
)
def post_connection(user: User, team: Team, body: ConnectionCreate) -> ConnectionBody:
    fields = structs.asdict(body)
    return _connection_body(services.create_connection(user=user, team_id=team.pk, **fields))


@routes.add(
    "GET /teams/{uuid:team_id}/connections/{uuid:connection_id}",
    Gate(_access_connection),
    summary="Get a connection",
)
def get_connection(user: User, connection: Connection) -> ConnectionBody:
    return _connection_body(connection)


@routes.add(
    "PATCH /teams/{uuid:team_id}/connections/{uuid:connection_id}",
    Gate(_access_connection),
    errors=(Conflict,),
    summary="Update a connection",
)
def patch_connection(user: User, connection: Connection, body: ConnectionUpdate) -> ConnectionBody:
    fields = structs.asdict(body)
    changed = services.update_connection(user=user, connection_id=connection.pk, **fields)
    return _connection_body(changed)


@routes.add(
    "DELETE /teams/{uuid:team_id}/connections/{uuid:connection_id}",
    Gate(_access_connection),
    errors=(Conflict,),
    summary="Delete a connection and its key",
)
def delete_connection(user: User, connection: Connection) -> None:
    services.delete_connection(user=user, connection_id=connection.pk)


@routes.add(
    "POST /teams/{uuid:team_id}/connections/{uuid:connection_id}/check",
    Gate(_access_connection),
    idempotency="ignore",
    summary="Check a stored connection with a request to its provider",
)
def post_check(user: User, connection: Connection) -> ConnectionCheckBody:
    """A check changes nothing, so it takes no `Idempotency-Key`."""
    found = services.check_connection(user=user, connection_id=connection.pk)
    return ConnectionCheckBody(ok=found.ok, detail=found.detail, models=list(found.models))


def _connection_body(connection: Connection) -> ConnectionBody:
    return ConnectionBody(
        id=connection.pk,
        team=connection.team_id,
        name=connection.name,
        kind=connection.kind,
        base_url=connection.base_url,
        has_key=bool(connection.key_encrypted),
        models=connection.model_names,
        created_at=format_timestamp(connection.created_at),
    )
