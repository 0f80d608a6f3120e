"""Sign-in at an MCP server: for a team, and of each person; hostile authorization servers."""

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import AuditEntry, TeamRole
from accounts.services import remove_team_member, set_team_role
from agents.mcp.sessions import Sessions
from agents.mcp.threads import in_thread
from agents.models import McpServer, McpSignIn, Tool
from agents.provider_keys import decrypt
from agents.services import create_mcp_server, mcp_sign_in, update_mcp_server
from tests.agents.cast import ALLOWED, Cast, make_cast
from tests.mcp.oauth import Protected, callback
from tests.mcp.servers import Running
from tests.mcp.toolset import tool_specs

pytestmark = pytest.mark.django_db(transaction=True)


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


def _start(client: Client, server: McpServer) -> str:
    """Return the address of the sign-in page, as the link of our page has it; empty if it fails."""
    page = client.post(f"/mcp/{server.pk}/sign-in/").content.decode()
    found = re.search(r'href="(http[^"]*/authorize\?[^"]*)"', page)
    return unescape(found[1]) if found else ""


def sign_in(client: Client, server: McpServer, protected: Protected, account: str) -> Any:
    return client.get(callback(protected.authorize(_start(client, server), account)))


def test_an_admin_signs_in_for_the_team_and_the_tools_are_listed(
    cast: Cast, protected: Protected
) -> None:
    server = add_server(cast, protected)
    assert server.problem == "sign_in"
    client = client_of(cast.admin)

    query = dict(parse_qsl(urlsplit(_start(client, server)).query))
    response = sign_in(client, server, protected, "team@example.com")

    assert (query["code_challenge_method"], query["scope"]) == ("S256", "tools")
    assert query["resource"] == protected.url
    assert query["redirect_uri"].endswith("/mcp/callback/")
    assert response.status_code == 302
    assert response.url == f"/teams/{cast.team.pk}/mcp/{server.pk}/"
    server.refresh_from_db()
    assert server.problem == ""
    assert Tool.objects.get(server=server).approved
    stored = McpSignIn.objects.get(server=server)
    assert stored.user is None
    assert "access-" in decrypt(stored.tokens_encrypted)
    assert "access-" not in stored.tokens_encrypted
    assert len(protected.registered) == 1  # the second start uses the same client


async def test_each_person_uses_the_own_account_of_a_personal_server(
    cast: Cast, protected: Protected
) -> None:
    def prepare() -> tuple[McpServer, dict[str, Any], dict[str, Any]]:
        server = add_server(cast, protected, personal=True)
        sign_in(client_of(cast.admin), server, protected, "admin@example.com")
        sign_in(client_of(cast.member), server, protected, "member@example.com")
        return server, tool_specs(server, cast.member.pk), tool_specs(server, cast.owner.pk)

    server, of_member, of_owner = await in_thread(prepare)
    protected.accounts.clear()

    async with Sessions() as sessions:
        works = await sessions.call(of_member["fine"], {})
        refused = await sessions.call(of_owner["fine"], {})

    assert works.text == "fine"
    assert set(protected.accounts) == {"member@example.com"}
    assert (refused.failed, refused.short) == (True, "needs a sign-in")
    assert f"/mcp/{server.pk}/sign-in/" in refused.text


async def test_no_call_is_made_after_the_sign_in_was_removed(
    cast: Cast, protected: Protected
) -> None:
    def prepare() -> tuple[McpServer, dict[str, Any]]:
        server = add_server(cast, protected, personal=True)
        sign_in(client_of(cast.admin), server, protected, "admin@example.com")
        return server, tool_specs(server, cast.admin.pk)

    server, tools = await in_thread(prepare)
    async with Sessions() as sessions:
        assert (await sessions.call(tools["fine"], {})).text == "fine"
        await in_thread(lambda: mcp_sign_in.sign_out(user=cast.admin, server_id=server.pk))
        refused = await sessions.call(tools["fine"], {})

    assert (refused.failed, refused.short) == (True, "needs a sign-in")
    assert [name for name, _ in protected.called] == ["fine"]


def test_a_state_belongs_to_its_session_and_is_used_once(cast: Cast, protected: Protected) -> None:
    server = add_server(cast, protected, personal=True)
    victim, attacker = client_of(cast.member), client_of(cast.owner)
    answer = protected.authorize(_start(attacker, server), "attacker")

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
    answer = protected.authorize(_start(client, server), "team")
    del answer["iss"]

    client.get(callback(answer | ({"iss": issuer} if issuer else {})))

    assert not McpSignIn.objects.exists()
    assert protected.forms == []


def test_a_change_of_the_address_during_a_sign_in_ends_it(cast: Cast, protected: Protected) -> None:
    server = add_server(cast, protected)
    client = client_of(cast.admin)
    answer = protected.authorize(_start(client, server), "team")
    update_mcp_server(user=cast.admin, server_id=server.pk, url="https://203.0.113.7/mcp")

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

    assert _start(client_of(cast.admin), server) == ""


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
    query = dict(parse_qsl(urlsplit(_start(client_of(cast.admin), server)).query))

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

    if url := _start(client, server):
        client.get(callback(protected.authorize(url, "team")))

    assert good.requests == []
    assert not McpSignIn.objects.exists()


def test_who_may_sign_in(cast: Cast, protected: Protected) -> None:
    for_team = add_server(cast, protected)
    personal = create_mcp_server(
        user=cast.admin,
        team_id=cast.team.pk,
        name="Own",
        url=protected.url,
        auth="oauth",
        personal=True,
    )

    statuses = {
        name: [
            client_of(getattr(cast, name)).get(f"/mcp/{server.pk}/sign-in/").status_code
            for server in (for_team, personal)
        ]
        for name in ("admin", "member", "guest", "stranger", "nobody")
    }

    assert statuses == {
        "admin": [200, 200],
        "member": [403, 200],
        "guest": [403, 403],
        "stranger": [404, 404],
        "nobody": [404, 404],
    }


def test_the_list_shows_members_the_host_and_guests_nothing(cast: Cast) -> None:
    create_mcp_server(
        user=cast.admin,
        team_id=cast.team.pk,
        name="Own",
        url="https://203.0.113.7/secret-CANARY",
        auth="oauth",
        personal=True,
    )
    pages = {
        name: client_of(getattr(cast, name)).get("/mcp/").content.decode()
        for name in ("admin", "member", "guest", "stranger")
    }

    assert [name for name, page in pages.items() if "203.0.113.7" in page] == ["admin", "member"]
    assert not [name for name, page in pages.items() if "CANARY" in page]


def test_a_member_who_leaves_during_the_sign_in_stores_nothing(
    cast: Cast, protected: Protected, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = add_server(cast, protected, personal=True)
    client = client_of(cast.member)
    answer = protected.authorize(_start(client, server), "member")
    run = mcp_sign_in._run

    def leave(steps: Any) -> Any:
        remove_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.member.pk)
        return run(steps)

    monkeypatch.setattr(mcp_sign_in, "_run", leave)

    assert client.get(callback(answer)).status_code == 404
    assert not McpSignIn.objects.exists()


def test_leaving_the_team_deletes_the_sign_in(cast: Cast, protected: Protected) -> None:
    server = add_server(cast, protected, personal=True)
    sign_in(client_of(cast.member), server, protected, "member")
    sign_in(client_of(cast.admin), server, protected, "admin")

    remove_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.member.pk)

    assert McpSignIn.objects.get().user == cast.admin


def test_a_sign_in_is_audited_without_tokens(cast: Cast, protected: Protected) -> None:
    server = add_server(cast, protected)
    sign_in(client_of(cast.admin), server, protected, "team")

    entry = AuditEntry.objects.get(action="mcp.signed_in")
    assert (entry.actor, entry.target_id) == (cast.admin, server.pk)
    values = "".join(f"{each.before}{each.after}" for each in AuditEntry.objects.all())
    assert not [token for token in (*protected.valid, *protected.refreshable) if token in values]


def test_signing_out_deletes_the_own_tokens_only(cast: Cast, protected: Protected) -> None:
    server = add_server(cast, protected, personal=True)
    member, admin = client_of(cast.member), client_of(cast.admin)
    sign_in(member, server, protected, "member")
    sign_in(admin, server, protected, "admin")

    member.post(f"/mcp/{server.pk}/sign-out/")

    assert McpSignIn.objects.get().user == cast.admin


def _demote(cast: Cast) -> None:
    set_team_role(
        user=cast.owner, team_id=cast.team.pk, member_id=cast.member.pk, role=TeamRole.GUEST
    )


def test_a_member_who_has_become_a_guest_can_only_remove_the_sign_in(
    cast: Cast, protected: Protected
) -> None:
    server = add_server(cast, protected, personal=True)
    client = client_of(cast.member)
    sign_in(client, server, protected, "member")
    _demote(cast)
    path = f"/mcp/{server.pk}/sign-in/"

    listed, page = (client.get(each).content.decode() for each in ("/mcp/", path))
    again = client.post(path)
    removed = client.post(f"/mcp/{server.pk}/sign-out/")

    assert path in listed
    assert f"/mcp/{server.pk}/sign-out/" in page
    assert "Sign in again" not in page
    assert (again.status_code, removed.status_code) == (403, 302)
    assert not McpSignIn.objects.exists()
    assert path not in client.get("/mcp/").content.decode()
    assert [client.get(path).status_code, client.post(path).status_code] == [403, 403]
    assert client.post(f"/mcp/{server.pk}/sign-out/").status_code == 403


def test_a_sign_in_at_a_disabled_server_can_be_removed(cast: Cast, protected: Protected) -> None:
    server = add_server(cast, protected, personal=True)
    client = client_of(cast.member)
    sign_in(client, server, protected, "member")
    update_mcp_server(user=cast.admin, server_id=server.pk, enabled=False)

    assert f"/mcp/{server.pk}/sign-in/" in client.get("/mcp/").content.decode()


async def test_the_account_of_a_guest_is_not_used(cast: Cast, protected: Protected) -> None:
    def prepare() -> dict[str, Any]:
        server = add_server(cast, protected, personal=True)
        sign_in(client_of(cast.admin), server, protected, "admin")
        sign_in(client_of(cast.member), server, protected, "member")
        return tool_specs(server, cast.member.pk)

    specs = await in_thread(prepare)
    async with Sessions() as sessions:
        before = await sessions.call(specs["fine"], {})
        await in_thread(_demote, cast)
        within = await sessions.call(specs["fine"], {})
    async with Sessions() as sessions:
        later = await sessions.call(specs["fine"], {})

    assert before.text == "fine"
    assert [(each.failed, each.short) for each in (within, later)] == [(True, "not for guests")] * 2
    assert len(protected.called) == 1


def test_the_entered_client_is_used(cast: Cast, protected: Protected) -> None:
    protected.changes = {"registration_endpoint": None}
    server = add_server(cast, protected, client_id="ours", client_secret="hush-CANARY")

    sign_in(client_of(cast.admin), server, protected, "team")

    assert protected.registered == []
    assert (protected.forms[0]["client_id"], protected.forms[0]["client_secret"]) == (
        "ours",
        "hush-CANARY",
    )
    server.refresh_from_db()
    assert "hush-CANARY" not in str(server.oauth)
