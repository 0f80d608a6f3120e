"""What is stored of the tools that a server lists: the rows of a hostile server are bounded."""

from typing import Any

import pytest
from pytest_django import Settings

from agents.mcp.definitions import read_listing
from agents.mcp.listing import store_listing
from agents.models import McpServer, PersonaTool, Tool, ToolPolicy
from agents.tools.registry import specs_for
from tests.agents.cast import ALLOWED, Cast, make_cast
from tests.mcp.hostile import tool


@pytest.fixture
def cast(db: None, settings: Settings) -> Cast:
    settings.EGRESS_ALLOW |= ALLOWED
    return make_cast()


@pytest.fixture
def server(cast: Cast) -> McpServer:
    return McpServer.objects.create(
        team=cast.team, name="Files", prefix="files", url="https://203.0.113.7/mcp"
    )


def _list(server: McpServer, *tools: dict[str, Any], approve: bool = False) -> None:
    store_listing(server.pk, read_listing(tools).tools, approve_first=approve)


def test_a_server_that_lists_other_names_each_time_does_not_fill_the_database(
    cast: Cast, server: McpServer
) -> None:
    _list(server, tool("approved"), approve=True)
    _list(server, tool("used"), tool("unused"))
    used = Tool.objects.get(key="used")
    PersonaTool.objects.create(persona=cast.persona, tool=used.pk, policy=ToolPolicy.ASK)

    for number in range(3):
        _list(server, *(tool(f"{number}_{each}") for each in range(3)))

    assert set(Tool.objects.filter(listed=False).values_list("key", flat=True)) == {
        "approved",
        "used",
    }
    assert Tool.objects.filter(listed=True).count() == 3


def test_a_server_has_a_limited_number_of_tools(
    cast: Cast, server: McpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.mcp.listing.MAX_ROWS", 3)
    _list(server, tool("a"), tool("b"), approve=True)
    for used in Tool.objects.all():
        PersonaTool.objects.create(persona=cast.persona, tool=used.pk, policy=ToolPolicy.ASK)

    _list(server, tool("c"), tool("d"), tool("e"))
    assert set(Tool.objects.values_list("key", "listed")) == {
        ("a", False),
        ("b", False),
        ("c", True),
    }

    _list(server, tool("a", description="Other."), tool("d"))
    assert set(Tool.objects.filter(listed=True).values_list("key", flat=True)) == {"a", "d"}


def test_approved_tools_that_are_gone_give_way_to_new_ones(
    cast: Cast, server: McpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.mcp.listing.MAX_ROWS", 3)
    _list(server, tool("used"), tool("a"), tool("b"), approve=True)
    used = Tool.objects.get(key="used")
    PersonaTool.objects.create(persona=cast.persona, tool=used.pk, policy=ToolPolicy.ASK)

    _list(server, tool("new"))
    left = Tool.objects.get(key__in=("a", "b"))
    assert set(Tool.objects.values_list("key", flat=True)) == {"used", left.key, "new"}

    _list(server, tool(left.key), *(tool(f"new_{number}") for number in range(5)))
    assert set(Tool.objects.values_list("key", "listed")) == {
        *(("used", False), (left.key, True), ("new_0", True))
    }
    left.refresh_from_db()
    assert left.approved


def test_the_title_of_a_tool_names_its_server(cast: Cast, server: McpServer) -> None:
    """A server could give its tool the title of one of our own, and people decide by the title."""
    _list(server, tool("a", title="Calculator"), tool("b", title="x" * 80), approve=True)
    for row in Tool.objects.all():
        PersonaTool.objects.create(persona=cast.persona, tool=row.pk, policy=ToolPolicy.ASK)

    titles = {spec.key: spec.title for spec in specs_for(cast.persona)}

    assert titles == {"a": "Calculator (Files)", "b": f"{'x' * 72} (Files)"}


def test_tools_after_an_empty_list_wait_for_approval(server: McpServer) -> None:
    _list(server, tool("fine"))

    _list(server, approve=True)
    _list(server, tool("other"), approve=True)

    assert not Tool.objects.get().approved
