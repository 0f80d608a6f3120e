"""Servers of a team, and their tools as a run gets them."""

import asyncio
from typing import Any
from uuid import UUID

from agents.mcp.child import Report
from agents.mcp.client import Session
from agents.models import McpServer, Tool
from agents.services import create_mcp_server
from agents.services.mcp_secrets import stored_headers
from agents.services.mcp_servers import InspectedUrl
from agents.tool_types import McpSpec, ToolSpec
from tests.agents.cast import Cast


def add_server(cast: Cast, url: str, **fields: Any) -> McpServer:
    """Add a server to the team of the cast, inspected in this process, which is faster."""
    inspected = InspectedUrl(url)
    inspected.report = asyncio.run(_inspect(url))
    fields = {"name": "Server", **fields}
    return create_mcp_server(user=cast.admin, team_id=cast.team.pk, url=inspected, **fields)


async def _inspect(url: str) -> Report:
    session = Session(url=url, team=UUID(int=1))
    try:
        await session.open()
        return Report(tools=(await session.list_tools()).tools)
    finally:
        await session.close()


def server_spec(server: McpServer, user: UUID | None = None) -> McpSpec:
    """Return the server as a run of `user` gets it."""
    return McpSpec(
        id=server.pk,
        team_id=server.team_id,
        url=server.url,
        auth=server.auth,  # type: ignore[arg-type]  # the model allows these values only
        user=user if server.personal else None,
        headers=stored_headers(server),
    )


def tool_specs(server: McpServer, user: UUID | None = None) -> dict[str, ToolSpec]:
    """Return all tools of a server by the server's names, those that wait for approval included."""
    spec = server_spec(server, user)
    return {tool.key: _tool_spec(tool, spec) for tool in Tool.objects.filter(server=server)}


def _tool_spec(tool: Tool, server: McpSpec) -> ToolSpec:
    return ToolSpec(
        id=tool.pk,
        name=tool.name,
        title=tool.title,
        description=tool.description,
        parameters=tool.parameters,
        reach="internet",
        changes=tool.changes,
        idempotent=tool.idempotent,
        source="mcp",
        key=tool.key,
        server=server,
        sha256=tool.sha256,
    )
