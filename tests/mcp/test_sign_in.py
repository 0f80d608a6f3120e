"""Sign-in at an MCP server: for a team, and of each person."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from accounts.models import AuditEntry, TeamRole
from accounts.services import remove_team_member, set_team_role
from agents.mcp.sessions import Sessions
from agents.mcp.threads import in_thread
from agents.models import McpServer, McpSignIn, Tool
from agents.provider_keys import decrypt
from agents.services import create_mcp_server, mcp_sign_in, update_mcp_server
from tests.agents.cast import Cast
from tests.mcp.oauth import Protected, callback
from tests.mcp.signing_in import add_server, cast, client_of, sign_in, start
from tests.mcp.toolset import tool_specs

__all__ = ["cast"]  # a fixture

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_admin_signs_in_for_the_team_and_the_tools_are_listed(
    cast: Cast, protected: Protected
) -> None:
    server = add_server(cast, protected)
    assert server.problem == "sign_in"
    client = client_of(cast.admin)

    query = dict(parse_qsl(urlsplit(start(client, server)).query))
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
    answer = protected.authorize(start(client, server), "member")
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
