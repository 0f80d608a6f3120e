"""Hostile authorization servers, and sign-ins that are not those that were started."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from pytest_django import Settings

from agents.models import McpSignIn
from agents.services import mcp_sign_in, update_mcp_server
from tests.agents.cast import Cast
from tests.mcp.oauth import Protected, callback
from tests.mcp.servers import Running
from tests.mcp.signing_in import add_server, cast, client_of, start

__all__ = ["cast"]  # a fixture

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_state_belongs_to_its_session_and_is_used_once(cast: Cast, protected: Protected) -> None:
    server = add_server(cast, protected, personal=True)
    victim, attacker = client_of(cast.member), client_of(cast.owner)
    answer = protected.authorize(start(attacker, server), "attacker")

    assert victim.get(callback(answer)).status_code == 404
    assert not McpSignIn.objects.exists()

    assert attacker.get(callback(answer)).status_code == 302
    assert attacker.get(callback(answer)).status_code == 404
    assert McpSignIn.objects.get().user == cast.owner


@pytest.mark.parametrize("issuer", ["https://other.example.com", None])
def test_an_answer_of_another_issuer_is_refused(
    cast: Cast, protected: Protected, issuer: str | None
) -> None:
    server = add_server(cast, protected)
    client = client_of(cast.admin)
    answer = protected.authorize(start(client, server), "team")
    del answer["iss"]

    client.get(callback(answer | ({"iss": issuer} if issuer else {})))

    assert not McpSignIn.objects.exists()
    assert protected.forms == []


@pytest.mark.parametrize("change", ["address", "path", "shared"])
def test_a_change_of_the_server_during_a_sign_in_ends_it(
    cast: Cast, protected: Protected, change: str
) -> None:
    """The tokens would be sent elsewhere, or the account of one person would serve the team."""
    server = add_server(cast, protected, personal=True)
    client = client_of(cast.admin)
    answer = protected.authorize(start(client, server), "admin")
    changes: dict[str, dict[str, Any]] = {
        "address": {"url": "https://203.0.113.7/mcp"},
        "path": {"url": f"{protected.url}/other"},
        "shared": {"personal": False},
    }
    update_mcp_server(user=cast.admin, server_id=server.pk, **changes[change])

    client.get(callback(answer))

    assert not McpSignIn.objects.exists()
    assert protected.forms == []


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://other.example.com"},
        {"code_challenge_methods_supported": ["plain"]},
        {"code_challenge_methods_supported": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "http://evil.example.com/authorize"},
        {"authorization_endpoint": "https://user:password@evil.example.com/authorize"},
        {"token_endpoint": "file:///etc/passwd"},
        {"registration_endpoint": None},
    ],
)
def test_metadata_that_is_not_safe_is_refused(
    cast: Cast, protected: Protected, changes: dict[str, Any]
) -> None:
    server = add_server(cast, protected)
    protected.changes = changes

    assert start(client_of(cast.admin), server) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"authorization_servers": ["https://["]},
        {"authorization_servers": ["https://a\u2100b.example.com"]},
        {"authorization_servers": ["https://xn--a.example.com"]},
        {"authorization_servers": ["x"]},
        {"resource": "https://["},
        {"resource": "https://xn--a.example.com/mcp"},
    ],
    ids=str,
)
def test_an_address_that_cannot_be_read_ends_the_sign_in(
    cast: Cast, protected: Protected, changes: dict[str, Any]
) -> None:
    server = add_server(cast, protected)
    protected.resource_changes = changes

    page = client_of(cast.admin).post(f"/mcp/{server.pk}/sign-in/")

    assert page.status_code == 200
    assert "/authorize?" not in page.content.decode()


def test_what_no_database_stores_is_left_out_of_a_sign_in(cast: Cast, protected: Protected) -> None:
    server = add_server(cast, protected)
    protected.resource_changes = {"scopes_supported": ["tools", "\x00", "\ud800"]}
    protected.client_id = "client-\x00"

    refused = client_of(cast.admin).post(f"/mcp/{server.pk}/sign-in/")
    protected.client_id = ""
    query = dict(parse_qsl(urlsplit(start(client_of(cast.admin), server)).query))

    assert "/authorize?" not in refused.content.decode()
    assert query["scope"] == "tools"


def test_the_host_of_a_sign_in_is_shown_in_ascii(cast: Cast, protected: Protected) -> None:
    server = add_server(cast, protected)
    protected.changes = {"authorization_endpoint": "https://\u0430pple.example.com/authorize"}

    page = client_of(cast.admin).post(f"/mcp/{server.pk}/sign-in/").content.decode()

    assert "xn--pple-43d.example.com" in page


def test_a_sign_in_at_a_slow_server_ends_in_time(
    cast: Cast, protected: Protected, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = add_server(cast, protected)
    monkeypatch.setattr(mcp_sign_in, "SECONDS", 0.0)

    page = client_of(cast.admin).post(f"/mcp/{server.pk}/sign-in/").content.decode()

    assert "cannot be reached" in page


@pytest.mark.parametrize("what", ["metadata", "resource", "registration", "token", "redirect"])
def test_no_address_of_a_sign_in_reaches_a_private_host(
    cast: Cast, protected: Protected, good: Running, settings: Settings, what: str
) -> None:
    server = add_server(cast, protected)
    canary = f"http://{good.address}/canary"
    settings.EGRESS_ALLOW -= {good.address}
    match what:
        case "metadata":
            protected.resource_changes = {"authorization_servers": [canary]}
        case "resource":
            protected.resource_changes = {"resource": canary}
        case "registration":
            protected.changes = {"registration_endpoint": canary}
        case "token":
            protected.changes = {"token_endpoint": canary}
        case "redirect":
            protected.redirect_token = canary
    client = client_of(cast.admin)

    if url := start(client, server):
        client.get(callback(protected.authorize(url, "team")))

    assert good.requests == []
    assert not McpSignIn.objects.exists()
