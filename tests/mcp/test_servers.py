"""The MCP servers of a team: who may change them, what is stored, and what never leaves."""

import json

import pytest
from django.test import Client
from pytest_django import Settings

from accounts import rate_limits
from accounts.errors import Conflict, Invalid
from accounts.models import AuditEntry
from accounts.rate_limits import MemoryCounters
from agents.models import McpServer, McpSignIn, PersonaTool, Tool, ToolPolicy
from agents.services import (
    approve_tool,
    check_mcp_server,
    check_new_mcp_server,
    create_mcp_server,
    delete_mcp_server,
    refresh_mcp_server,
    update_mcp_server,
    update_tool,
)
from agents.services.mcp_secrets import stored_headers
from agents.services.mcp_servers import MAX_SERVERS
from tests.agents.cast import REFUSED, Cast
from tests.mcp.hostile import Hostile, tool
from tests.mcp.servers import Running
from tests.mcp.stored import SECRET, URL, cast, list_tools, store

__all__ = ["cast"]  # a fixture


def test_adding_a_server_lists_its_tools_in_a_child_process(cast: Cast, good: Running) -> None:
    client = Client()
    client.force_login(cast.admin)
    body = {
        "name": "Good tools",
        "url": good.url,
        "auth": "bearer",
        "token": SECRET,
        "headers": {"X-Team": "blue"},
    }
    response = client.post(f"/api/v1/teams/{cast.team.pk}/mcp", body, "application/json")

    assert response.status_code == 201
    assert response.json()["problem"] is None
    assert response.json()["headers"] == ["Authorization", "X-Team"]
    assert SECRET not in response.content.decode()
    assert set(good.sent("authorization")) == {f"Bearer {SECRET}"}
    echo = Tool.objects.get(key="echo")
    assert (echo.name, echo.title, echo.team) == ("good-tools_echo", "Echo", cast.team)
    assert (echo.changes, echo.idempotent, echo.approved) == (True, False, True)
    assert echo.claims == {"read_only": True, "idempotent": True}

    listed = client.get(f"/api/v1/teams/{cast.team.pk}/tools").json()["items"]
    assert "good-tools_echo" in [row["name"] for row in listed]


def test_a_server_that_cannot_be_reached_is_stored_with_its_problem(
    cast: Cast, good: Running, settings: Settings
) -> None:
    server = create_mcp_server(
        user=cast.admin, team_id=cast.team.pk, name="Other", url=f"http://{good.address}/other"
    )

    assert server.problem == "not_found"
    assert not check_mcp_server(user=cast.admin, server_id=server.pk).ok


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/mcp",
        "http://[::1]/mcp",
        "http://169.254.169.254/latest",
        "http://0x7f.1/",
        "http://user@203.0.113.7/mcp",
        "file:///etc/passwd",
        "stdio:python",
        "https://203.0.113.7/mcp?x=1",
        "",
    ],
)
def test_addresses_that_the_egress_guard_refuses(cast: Cast, url: str) -> None:
    with pytest.raises(Invalid) as refused:
        store(cast, url=url)
    assert refused.value.fields
    assert "url" in refused.value.fields

    server = store(cast)
    with pytest.raises(Invalid):
        update_mcp_server(user=cast.admin, server_id=server.pk, url=url)
    checked = check_new_mcp_server(
        user=cast.admin, team_id=cast.team.pk, url=url, auth="none", headers={}, token=""
    )
    assert not checked.ok


def test_secrets_are_encrypted_and_never_shown(cast: Cast) -> None:
    server = store(cast, auth="bearer", token=SECRET, url="https://203.0.113.8/mcp")
    client = Client()
    client.force_login(cast.admin)

    shown = [
        client.get(f"/api/v1/teams/{cast.team.pk}/mcp").content,
        client.get(f"/api/v1/teams/{cast.team.pk}/mcp/{server.pk}").content,
        client.get(f"/teams/{cast.team.pk}/mcp/").content,
        client.get(f"/teams/{cast.team.pk}/mcp/{server.pk}/").content,
        *(f"{entry.before}{entry.after}".encode() for entry in AuditEntry.objects.all()),
        json.dumps(list(McpServer.objects.values()), default=str).encode(),
    ]

    assert not [page for page in shown if SECRET.encode() in page]
    assert stored_headers(server) == {"Authorization": f"Bearer {SECRET}"}


def test_another_host_removes_secrets_sign_ins_and_approvals(cast: Cast) -> None:
    server = store(cast, headers={"X-Key": SECRET})
    McpSignIn.objects.create(server=server, tokens_encrypted="x")
    list_tools(server, tool("fine"), approve=True)

    update_mcp_server(user=cast.admin, server_id=server.pk, url="https://203.0.113.7/other")
    server.refresh_from_db()
    assert stored_headers(server) == {"X-Key": SECRET}  # the same origin

    update_mcp_server(user=cast.admin, server_id=server.pk, url="https://203.0.113.8/mcp")
    server.refresh_from_db()

    assert server.headers_encrypted == ""
    assert not McpSignIn.objects.exists()
    assert not Tool.objects.get().approved


def test_a_check_of_another_host_sends_no_stored_secret(
    cast: Cast, good: Running, hostile: Hostile
) -> None:
    server = store(cast, auth="bearer", token=SECRET, url=hostile.url)
    assert SECRET in hostile.sent("authorization")[0]

    assert check_mcp_server(user=cast.admin, server_id=server.pk, url=good.url).ok

    assert good.sent("authorization") == []


def test_a_token_may_come_as_the_authorization_header(cast: Cast, good: Running) -> None:
    server = store(
        cast,
        auth="bearer",
        headers={"A": "1", "authorization": f"bearer {SECRET}"},
        url=good.url,
    )
    assert good.sent("authorization")[0] == f"Bearer {SECRET}"

    update_mcp_server(
        user=cast.admin, server_id=server.pk, headers={"Authorization": "Bearer another"}
    )
    server.refresh_from_db()

    assert stored_headers(server) == {"Authorization": "Bearer another"}
    with pytest.raises(Invalid):
        store(cast, auth="bearer", headers={"Authorization": "Basic YTpi"}, name="Basic")


def test_a_token_is_kept_while_headers_change(cast: Cast) -> None:
    server = store(cast, auth="bearer", token=SECRET, headers={"A": "1"}, url="https://203.0.113.8")

    update_mcp_server(user=cast.admin, server_id=server.pk, headers={"B": "2"})
    server.refresh_from_db()
    assert stored_headers(server) == {"B": "2", "Authorization": f"Bearer {SECRET}"}

    update_mcp_server(user=cast.admin, server_id=server.pk, token="")
    server.refresh_from_db()
    assert stored_headers(server) == {"B": "2"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example.com"},
        {"Mcp-Session-Id": "1"},
        {"A\r\nB": "1"},
        {"A": "1\r\nB: 2"},
        {"A": "ü"},
        {"A": ""},
        {"Authorization": "Bearer x"},
        {f"A{number}": "1" for number in range(11)},
    ],
)
def test_headers_that_cannot_be_sent_are_refused(cast: Cast, headers: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        store(cast, headers=headers)


@pytest.mark.parametrize(("who", "error"), REFUSED)
def test_only_admins_change_servers(cast: Cast, who: str, error: type[Exception]) -> None:
    server = store(cast)
    list_tools(server, tool("fine"))
    row = Tool.objects.get()
    user, team_id = getattr(cast, who), cast.team.pk

    for act in (
        lambda: create_mcp_server(user=user, team_id=team_id, name="x", url=URL, auth="oauth"),
        lambda: update_mcp_server(user=user, server_id=server.pk, name="x"),
        lambda: delete_mcp_server(user=user, server_id=server.pk),
        lambda: refresh_mcp_server(user=user, server_id=server.pk),
        lambda: check_mcp_server(user=user, server_id=server.pk),
        lambda: approve_tool(user=user, team_id=team_id, tool_id=row.pk, sha256=row.sha256),
        lambda: update_tool(user=user, team_id=team_id, tool_id=row.pk, changes=False),
    ):
        with pytest.raises(error):
            act()


def test_deleting_a_server_takes_its_tools_from_personas(cast: Cast) -> None:
    server = store(cast)
    list_tools(server, tool("fine"), approve=True)
    row = Tool.objects.get()
    PersonaTool.objects.create(persona=cast.persona, tool=row.pk, policy=ToolPolicy.ASK)

    delete_mcp_server(user=cast.admin, server_id=server.pk)

    assert not Tool.objects.exists()
    assert not PersonaTool.objects.exists()


def test_names_and_prefixes_are_unique_in_a_team(cast: Cast) -> None:
    first = store(cast, name="My Files!")
    second = store(cast, name="My files?")
    korean = store(cast, name="파일")

    assert (first.prefix, second.prefix, korean.prefix) == ("my-files", "my-files-2", "tools")
    with pytest.raises(Conflict):
        store(cast, name="my files!")


def test_a_team_has_a_limited_number_of_servers(cast: Cast) -> None:
    for number in range(MAX_SERVERS):
        store(cast, name=f"Server {number}")

    with pytest.raises(Conflict):
        store(cast, name="One more")


def test_a_post_that_may_not_add_a_server_inspects_none(
    cast: Cast, good: Running, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = MemoryCounters()
    monkeypatch.setattr("accounts.rate_limits.get_counters", lambda: counters)
    client = Client()
    client.force_login(cast.admin)

    def post() -> int:
        body = {"name": "Good", "url": good.url}
        path = f"/api/v1/teams/{cast.team.pk}/mcp"
        return client.post(path, body, "application/json").status_code

    with monkeypatch.context() as full:
        full.setattr("agents.services.mcp_servers.MAX_SERVERS", 0)
        assert post() == 409
    settings.RATE_LIMITS = True
    for _ in range(rate_limits.LIMITS[rate_limits.CHECK, rate_limits.USER].max_count):
        rate_limits.consume(rate_limits.CHECK, cast.admin, team_id=cast.team.pk)
    assert post() == 429

    assert good.requests == []


def test_the_pages_work_without_scripts(cast: Cast, hostile: Hostile) -> None:
    client = Client()
    client.force_login(cast.admin)
    root = f"/teams/{cast.team.pk}/mcp"
    form = {"name": "Page", "url": hostile.url, "auth": "none", "headers": "X-Key: 1"}

    checked = client.post(f"{root}/try/", form)
    created = client.post(f"{root}/new/", form)
    server = McpServer.objects.get()
    hostile.tools = [tool("fine", description="<b>Deletes</b> everything."), tool("hang")]
    refreshed = client.post(f"{root}/{server.pk}/refresh/", follow=True)
    row = Tool.objects.get(key="fine")

    assert "it has 2 tools" in checked.content.decode()
    assert created["Location"] == f"{root}/{server.pk}/"
    page = refreshed.content.decode()
    assert "&lt;b&gt;Deletes&lt;/b&gt; everything." in page
    assert "Changed" in page
    assert not row.approved

    client.post(f"{root}/tools/{row.pk}/", {"sha256": row.sha256})
    client.post(f"{root}/tools/{row.pk}/", {"reads_only": "on"})
    row.refresh_from_db()
    assert (row.approved, row.changes, row.idempotent) == (True, False, False)
    saved = client.post(
        f"{root}/{server.pk}/", {**form, "name": "New", "headers": "", "enabled": ""}
    )
    server.refresh_from_db()
    assert saved.status_code == 302
    assert (server.name, server.enabled, stored_headers(server)) == ("New", False, {"X-Key": "1"})
    client.post(f"{root}/{server.pk}/delete/")
    assert not McpServer.objects.exists()
