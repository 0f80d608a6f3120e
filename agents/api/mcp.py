"""The REST endpoints of MCP servers. Requests can set secrets; no response contains one."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Struct, structs

from accounts.api.bodies import Body
from accounts.api.pagination import MAX_PAGE, Cursor, Limit, Page, each, page_of
from accounts.api.routing import Gate, Routes
from accounts.errors import Conflict, NotFound
from accounts.fields import Timestamp, format_timestamp, one_of
from accounts.models import Team, User
from accounts.permissions import access_team
from agents import services
from agents.models import McpAuth, McpServer, Tool
from agents.permissions import MANAGE
from agents.services.mcp_reports import problem_sentence
from agents.services.mcp_secrets import header_names
from agents.services.mcp_tools import access_tool

routes = Routes("agents")

ServerName = Annotated[str, Meta(min_length=1, max_length=80)]
ServerUrl = Annotated[str, Meta(min_length=1, max_length=400)]
Headers = Annotated[dict[str, str], Meta(max_length=10)]
Secret = Annotated[str, Meta(max_length=2_000)]
AuthName = Literal["none", "bearer", "oauth"]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class McpServerBody(Struct, frozen=True, kw_only=True):
    """A server with tools. `headers` are the names of the stored headers, never their values.

    `problem` is a sentence about the last time its tools were listed, null if that succeeded.
    """

    id: UUID
    team: UUID
    name: str
    url: str
    auth: Annotated[str, one_of(McpAuth.values)]
    personal: bool
    enabled: bool
    headers: list[str]
    checked_at: Timestamp | None
    problem: str | None
    created_at: Timestamp


class McpServerCreate(Body, frozen=True, kw_only=True):
    """A new server, reached by HTTP. Headers, token and client secret are stored encrypted.

    `token` is for the kind `bearer`, the client for `oauth` if the authorization server does not
    register clients. With `personal`, each person signs in.
    """

    name: ServerName
    url: ServerUrl
    auth: AuthName = "none"
    personal: bool = False
    enabled: bool = True
    headers: Headers = msgspec.field(default_factory=dict)
    token: Secret = ""
    client_id: Secret = ""
    client_secret: Secret = ""


class McpServerUpdate(Body, frozen=True, kw_only=True):
    """Changes to a server. A field that is absent or null does not change.

    An address with another host removes the secrets, the sign-ins and the approvals of the tools.
    """

    name: ServerName | None = None
    url: ServerUrl | None = None
    auth: AuthName | None = None
    personal: bool | None = None
    enabled: bool | None = None
    headers: Headers | None = None
    token: Secret | None = None
    client_id: Secret | None = None
    client_secret: Secret = ""


class McpCheckBody(Struct, frozen=True):
    """The result of a check, in one sentence."""

    ok: bool
    detail: str


class ToolApprove(Body, frozen=True):
    """The hash of the definition that the admin has read."""

    sha256: Sha256


class ToolUpdate(Body, frozen=True):
    """What an admin says about a tool. A field that is absent or null does not change."""

    # `changes` is a method of Body.
    changes_something: bool | None = msgspec.field(default=None, name="changes")
    idempotent: bool | None = None


class McpToolBody(Struct, frozen=True, kw_only=True):
    """A tool of a server. `read_only` and `repeatable` are what the server says, unchecked."""

    id: UUID
    name: str
    title: str
    description: str
    server: UUID
    changes: bool
    idempotent: bool
    read_only: bool
    repeatable: bool
    sha256: str
    approved: bool
    listed: bool


def _access_server(user: User, team_id: UUID, server_id: UUID) -> McpServer:
    """Return a server of this team; raises NotFound for a server of another team."""
    team = access_team(user, team_id, MANAGE)
    server = team.mcp_servers.filter(pk=server_id).first()
    if server is None:
        raise NotFound
    return server


@routes.add(
    "GET /teams/{uuid:team_id}/mcp", Gate(access_team, MANAGE), summary="List the MCP servers"
)
def get_mcp_servers(
    user: User, team: Team, limit: Limit = MAX_PAGE, cursor: Cursor = None
) -> Page[McpServerBody]:
    return page_of(team.mcp_servers.all(), each(_server_body), limit=limit, cursor=cursor)


def _inspect(user: User, body: McpServerCreate, path: Mapping[str, Any]) -> McpServerCreate:
    """Return the body with the URL of a server that has been inspected, before the transaction."""
    url = services.inspect_new_server(
        user=user,
        team_id=path["team_id"],
        url=body.url,
        auth=body.auth,
        headers=body.headers,
        token=body.token,
    )
    return structs.replace(body, url=url)


@routes.add(
    "POST /teams/{uuid:team_id}/mcp",
    Gate(access_team, MANAGE),
    prepare=_inspect,
    status=201,
    location="/teams/{team_id}/mcp/{id}",
    summary="Add an MCP server and list its tools",
)
def post_mcp_server(user: User, team: Team, body: McpServerCreate) -> McpServerBody:
    """A server that cannot be reached is added, too, with its `problem`."""
    fields = structs.asdict(body)
    return _server_body(services.create_mcp_server(user=user, team_id=team.pk, **fields))


@routes.add(
    "GET /teams/{uuid:team_id}/mcp/{uuid:server_id}",
    Gate(_access_server),
    summary="Get an MCP server",
)
def get_mcp_server(user: User, server: McpServer) -> McpServerBody:
    return _server_body(server)


@routes.add(
    "PATCH /teams/{uuid:team_id}/mcp/{uuid:server_id}",
    Gate(_access_server),
    errors=(Conflict,),
    summary="Update an MCP server",
)
def patch_mcp_server(user: User, server: McpServer, body: McpServerUpdate) -> McpServerBody:
    fields = structs.asdict(body)
    return _server_body(services.update_mcp_server(user=user, server_id=server.pk, **fields))


@routes.add(
    "DELETE /teams/{uuid:team_id}/mcp/{uuid:server_id}",
    Gate(_access_server),
    summary="Delete an MCP server, its secrets and its tools",
)
def delete_mcp_server(user: User, server: McpServer) -> None:
    services.delete_mcp_server(user=user, server_id=server.pk)


@routes.add(
    "POST /teams/{uuid:team_id}/mcp/{uuid:server_id}/check",
    Gate(_access_server),
    idempotency="ignore",
    summary="Connect to an MCP server and count its tools, without storing them",
)
def post_mcp_check(user: User, server: McpServer) -> McpCheckBody:
    """A check changes nothing, so it takes no `Idempotency-Key`."""
    found = services.check_mcp_server(user=user, server_id=server.pk)
    return McpCheckBody(ok=found.ok, detail=found.detail)


@routes.add(
    "POST /teams/{uuid:team_id}/mcp/{uuid:server_id}/refresh",
    Gate(_access_server),
    errors=(Conflict,),
    idempotency="ignore",
    summary="List the tools of an MCP server again",
)
def post_mcp_refresh(user: User, server: McpServer) -> McpServerBody:
    """Repeating it is harmless, so it takes no `Idempotency-Key`."""
    return _server_body(services.refresh_mcp_server(user=user, server_id=server.pk))


@routes.add(
    "PATCH /teams/{uuid:team_id}/tools/{uuid:tool_id}",
    Gate(access_tool),
    summary="Say whether a tool of an MCP server changes something, and may be repeated",
)
def patch_tool(user: User, tool: Tool, team_id: UUID, body: ToolUpdate) -> McpToolBody:
    changed = services.update_tool(
        user=user,
        team_id=team_id,
        tool_id=tool.pk,
        changes=body.changes_something,
        idempotent=body.idempotent,
    )
    return _tool_body(changed)


@routes.add(
    "POST /teams/{uuid:team_id}/tools/{uuid:tool_id}/approve",
    Gate(access_tool),
    errors=(Conflict,),
    summary="Approve the definition of a tool of an MCP server",
)
def post_tool_approve(user: User, tool: Tool, team_id: UUID, body: ToolApprove) -> McpToolBody:
    approved = services.approve_tool(
        user=user, team_id=team_id, tool_id=tool.pk, sha256=body.sha256
    )
    return _tool_body(approved)


def _server_body(server: McpServer) -> McpServerBody:
    return McpServerBody(
        id=server.pk,
        team=server.team_id,
        name=server.name,
        url=server.url,
        auth=server.auth,
        personal=server.personal,
        enabled=server.enabled,
        headers=header_names(server),
        checked_at=None if server.checked_at is None else format_timestamp(server.checked_at),
        problem=problem_sentence(server.problem) or None,
        created_at=format_timestamp(server.created_at),
    )


def _tool_body(tool: Tool) -> McpToolBody:
    assert tool.server_id is not None
    return McpToolBody(
        id=tool.pk,
        name=tool.name,
        title=tool.title,
        description=tool.description,
        server=tool.server_id,
        changes=tool.changes,
        idempotent=tool.idempotent,
        read_only=bool(tool.claims.get("read_only")),
        repeatable=bool(tool.claims.get("idempotent")),
        sha256=tool.sha256,
        approved=tool.approved,
        listed=tool.listed,
    )
