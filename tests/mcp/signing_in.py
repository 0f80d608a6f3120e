"""Signs people in at MCP servers."""

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from agents.models import McpServer
from agents.services import create_mcp_server
from tests.agents.cast import ALLOWED, Cast, make_cast
from tests.mcp.oauth import Protected, callback


@pytest.fixture
def cast(transactional_db: None, settings: Settings) -> Cast:
    settings.EGRESS_ALLOW |= ALLOWED
    return make_cast()


def add_server(cast: Cast, protected: Protected, **fields: Any) -> McpServer:
    return create_mcp_server(
        user=cast.admin,
        team_id=cast.team.pk,
        name="Safe",
        url=protected.url,
        auth="oauth",
        **fields,
    )


def client_of(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def start(client: Client, server: McpServer) -> str:
    """Return the address of the sign-in page, as the link of our page has it; empty if it fails."""
    page = client.post(f"/mcp/{server.pk}/sign-in/").content.decode()
    found = re.search(r'href="(http[^"]*/authorize\?[^"]*)"', page)
    return unescape(found[1]) if found else ""


def sign_in(client: Client, server: McpServer, protected: Protected, account: str) -> Any:
    return client.get(callback(protected.authorize(start(client, server), account)))
