"""Stores MCP servers that no test connects to, and their tools."""

from typing import Any

import pytest
from pytest_django import Settings

from agents.mcp.definitions import read_listing
from agents.mcp.listing import store_listing
from agents.models import McpServer
from agents.services import create_mcp_server
from tests.agents.cast import ALLOWED, Cast, make_cast

SECRET = "hush-CANARY"
URL = "https://203.0.113.7/mcp"


@pytest.fixture
def cast(db: None, settings: Settings) -> Cast:
    settings.EGRESS_ALLOW |= ALLOWED
    return make_cast()


def store(cast: Cast, **fields: Any) -> McpServer:
    """Store a server that no test connects to."""
    fields = {"name": "Files", "url": URL, "auth": "oauth", **fields}
    return create_mcp_server(user=cast.admin, team_id=cast.team.pk, **fields)


def list_tools(server: McpServer, *tools: dict[str, Any], approve: bool = False) -> None:
    store_listing(server.pk, read_listing(tools).tools, url=server.url, approve_first=approve)
