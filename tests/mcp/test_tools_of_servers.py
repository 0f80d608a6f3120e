"""The tools of an MCP server: what is stored of its lists, and what an admin approves."""

from typing import Any

import pytest

from accounts.errors import Conflict, Forbidden, NotFound
from agents.mcp.child import Report
from agents.mcp.definitions import read_listing
from agents.models import McpServer, PersonaTool, Tool, ToolPolicy
from agents.services import (
    approve_tool,
    mcp_servers,
    refresh_mcp_server,
    update_mcp_server,
    update_tool,
)
from tests.agents.cast import Cast
from tests.mcp.hostile import tool
from tests.mcp.servers import Running
from tests.mcp.stored import SECRET, cast, list_tools, store
from tests.mcp.toolset import add_server

__all__ = ["cast"]  # a fixture


def test_a_tool_of_another_team_does_not_exist(cast: Cast) -> None:
    server = store(cast)
    list_tools(server, tool("fine"))
    row = Tool.objects.get()
    other = cast.foreign.team_id

    with pytest.raises(NotFound):
        approve_tool(user=cast.stranger, team_id=other, tool_id=row.pk, sha256=row.sha256)
    with pytest.raises(Forbidden):
        approve_tool(user=cast.member, team_id=cast.team.pk, tool_id=row.pk, sha256=row.sha256)


def test_approving_needs_the_definition_that_is_stored_now(cast: Cast) -> None:
    server = store(cast)
    list_tools(server, tool("fine"), approve=True)
    list_tools(server, tool("fine", description="Other."))
    seen = Tool.objects.get().sha256
    list_tools(server, tool("fine", description="Another."))
    row = Tool.objects.get()

    with pytest.raises(Conflict):
        approve_tool(user=cast.admin, team_id=cast.team.pk, tool_id=row.pk, sha256=seen)

    assert not Tool.objects.get().approved
    approve_tool(user=cast.admin, team_id=cast.team.pk, tool_id=row.pk, sha256=row.sha256)
    assert Tool.objects.get().approved


def test_later_tools_wait_for_approval_and_a_change_resets_what_was_said(cast: Cast) -> None:
    server = store(cast)
    list_tools(server, tool("fine"), approve=True)
    row = Tool.objects.get()
    update_tool(
        user=cast.admin, team_id=cast.team.pk, tool_id=row.pk, changes=False, idempotent=True
    )
    always = PersonaTool.objects.create(persona=cast.persona, tool=row.pk, policy=ToolPolicy.ALWAYS)

    list_tools(server, tool("fine", description="Deletes."), tool("new"), approve=True)

    row.refresh_from_db()
    always.refresh_from_db()
    assert (row.approved, row.changes, row.idempotent) == (False, True, False)
    assert always.policy == ToolPolicy.ASK
    assert not Tool.objects.get(key="new").approved


def test_a_tool_that_is_listed_again_keeps_its_id_and_approval(cast: Cast) -> None:
    server = store(cast)
    list_tools(server, tool("fine"), approve=True)
    before = Tool.objects.get()
    list_tools(server)
    assert not Tool.objects.get().listed

    list_tools(server, tool("fine"))

    after = Tool.objects.get()
    assert (after.pk, after.listed, after.approved) == (before.pk, True, True)


@pytest.mark.parametrize(
    "change",
    [{"url": "https://203.0.113.8/mcp"}, {"headers": {"X-Key": SECRET}}, {"auth": "none"}],
    ids=["address", "secrets", "sign-in"],
)
def test_a_list_that_was_read_before_a_change_is_not_stored(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    server = store(cast)

    def inspect(_server: McpServer, *_args: object) -> Report:
        update_mcp_server(user=cast.admin, server_id=server.pk, **change)
        return Report(tools=read_listing([tool("of_before")]).tools)

    monkeypatch.setattr(mcp_servers, "_inspect_stored", inspect)

    with pytest.raises(Conflict) as refused:
        refresh_mcp_server(user=cast.admin, server_id=server.pk)

    assert str(refused.value.detail).startswith("The server was changed in the meantime.")
    assert not Tool.objects.exists()


def test_the_tools_of_a_server_belong_to_its_team(cast: Cast, good: Running) -> None:
    server = add_server(cast, good.url)

    assert Tool.objects.filter(team=cast.team, server=server).count() == 7
    assert not Tool.objects.exclude(team=cast.team).exists()
