"""The sessions of a run: opened by the first call, and only approved tools are called."""

import asyncio
import time
from functools import partial
from typing import Any, get_args

import pytest
from pytest_django import Settings

from agents.engine.toolbox import MCP_SECONDS
from agents.mcp import client
from agents.mcp.client import Session
from agents.mcp.definitions import Listing, read_listing
from agents.mcp.listing import store_listing
from agents.mcp.sessions import CHANGED, FAILURES, OUTDATED, Sessions
from agents.mcp.threads import in_thread
from agents.mcp.transport import FailureCode
from agents.models import McpServer, Tool
from agents.services import approve_tool, update_mcp_server
from agents.services.mcp_reports import SENTENCES
from tests.agents.cast import ALLOWED, Cast, make_cast
from tests.deadlines import DEADLINE, scaled
from tests.mcp.hostile import Hostile, tool
from tests.mcp.servers import Running, until
from tests.mcp.toolset import add_server, tool_specs

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cast(transactional_db: None, settings: Settings) -> Cast:
    settings.EGRESS_ALLOW |= ALLOWED
    return make_cast()


@pytest.fixture
def server(cast: Cast, good: Running) -> McpServer:
    return add_server(cast, good.url)


@pytest.fixture
def bad_server(cast: Cast, hostile: Hostile) -> McpServer:
    return add_server(cast, hostile.url)


async def test_a_call_of_an_added_server(server: McpServer, good: Running) -> None:
    tools = await in_thread(tool_specs, server)
    async with Sessions() as sessions:
        first = await sessions.call(tools["echo"], {"text": "hello"})
        opened = len(good.requests)
        second = await sessions.call(tools["broken"], {})

    assert (first.text, first.failed) == ("hello", False)
    assert second.failed
    assert "the tool broke" in second.text
    assert opened + 2 == len(good.requests)  # one more call, and the end of the session
    assert good.requests[-1][0] == "DELETE"


async def test_concurrent_first_calls_share_one_session(server: McpServer, good: Running) -> None:
    tools = await in_thread(tool_specs, server)
    good.requests.clear()
    async with Sessions() as sessions:
        results = await asyncio.gather(
            *(sessions.call(tools["echo"], {"text": str(number)}) for number in range(8))
        )

    assert [result.text for result in results] == [str(number) for number in range(8)]
    assert [method for method, _, _ in good.requests].count("DELETE") == 1


async def test_a_changed_tool_is_not_called_until_it_is_approved(
    bad_server: McpServer, hostile: Hostile, cast: Cast
) -> None:
    tools = await in_thread(tool_specs, bad_server)
    hostile.tools = [tool("fine", description="Deletes everything."), tool("hang")]
    async with Sessions() as sessions:
        refused = await sessions.call(tools["fine"], {})
    called = list(hostile.called)

    row = await in_thread(Tool.objects.get, server=bad_server, key="fine")
    assert (refused.text, refused.failed) == (CHANGED, True)
    assert called == []
    assert (row.description, row.approved, row.changes) == ("Deletes everything.", False, True)

    def approve() -> None:
        approve_tool(user=cast.admin, team_id=cast.team.pk, tool_id=row.pk, sha256=row.sha256)

    await in_thread(approve)
    approved = await in_thread(tool_specs, bad_server)
    async with Sessions() as sessions:
        assert (await sessions.call(tools["fine"], {})).text == OUTDATED
        assert hostile.called == []
        assert (await sessions.call(approved["fine"], {})).text == "fine"


async def test_a_change_within_a_session_is_noticed(server: McpServer, good: Running) -> None:
    tools = await in_thread(tool_specs, server)
    async with Sessions() as sessions:
        assert (await sessions.call(tools["counter"], {})).text == "1"
        await sessions.call(tools["change"], {})
        (opened,) = sessions._servers.values()
        assert opened._session is not None
        session = opened._session
        await until(lambda: session.changed)

        refused = await sessions.call(tools["counter"], {})
        still = await sessions.call(tools["echo"], {"text": "same"})

    assert refused.text == CHANGED
    assert still.text == "same"
    assert [name for name, _ in good.called].count("counter") == 1


async def test_an_expired_session_is_opened_again(bad_server: McpServer, hostile: Hostile) -> None:
    tools = await in_thread(tool_specs, bad_server)
    async with Sessions() as sessions:
        await sessions.call(tools["fine"], {})
        hostile.session = "two"
        again = await sessions.call(tools["fine"], {})

    assert again.text == "fine"
    assert len(hostile.called) == 2  # the call that was refused had no effect


async def test_a_run_ends_quickly_while_a_server_hangs(
    bad_server: McpServer, hostile: Hostile
) -> None:
    tools = await in_thread(tool_specs, bad_server)

    async def run() -> None:
        async with Sessions() as sessions:
            await sessions.call(tools["hang"], {})

    task = asyncio.create_task(run())
    assert await asyncio.to_thread(hostile.wait_for_call, "hang")
    began = time.monotonic()
    task.cancel()
    await asyncio.wait({task}, timeout=DEADLINE)

    assert time.monotonic() - began < scaled(1)
    await until(lambda: not hostile.open_requests)


async def test_failures_are_words_for_the_model(bad_server: McpServer, hostile: Hostile) -> None:
    hostile.tools = [tool("fine"), tool("hang"), tool("status_500"), tool("inject")]
    listed = read_listing(hostile.tools).tools
    await in_thread(partial(store_listing, bad_server.pk, listed, url=bad_server.url))
    await in_thread(_approve_all)
    tools = await in_thread(tool_specs, bad_server)
    async with Sessions() as sessions:
        failed = await sessions.call(tools["status_500"], {})
        injected = await sessions.call(tools["inject"], {})

    assert failed.failed
    assert failed.text == "The tool's server reported an error."
    assert (failed.short, injected.failed) == ("failed", False)


@pytest.mark.parametrize("step", ["list_tools", "call"])
async def test_a_call_ends_in_time_with_all_that_it_needs(
    bad_server: McpServer, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    async def hang(*_args: object) -> None:
        await asyncio.Event().wait()

    tools = await in_thread(tool_specs, bad_server)
    monkeypatch.setattr(client, "TOTAL_SECONDS", 0.5)
    monkeypatch.setattr(Session, step, hang)
    async with Sessions() as sessions:
        late = await asyncio.wait_for(sessions.call(tools["fine"], {}), DEADLINE)

    assert late.text == FAILURES["timeout"]
    parts = client.OPEN_SECONDS, client.LIST_SECONDS, client.CALL_SECONDS
    assert sum(parts) < MCP_SECONDS  # the engine ends the call later than the session


async def test_a_list_of_the_address_before_is_not_stored(
    bad_server: McpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is moved while its tools are listed."""

    async def move(_session: Session) -> Listing:
        moved = McpServer.objects.filter(pk=bad_server.pk)
        await in_thread(partial(moved.update, url="https://203.0.113.7/mcp"))
        return read_listing([tool("of_before")])

    tools = await in_thread(tool_specs, bad_server)
    monkeypatch.setattr(Session, "list_tools", move)
    async with Sessions() as sessions:
        refused = await sessions.call(tools["fine"], {})

    assert refused.text == FAILURES["removed"]
    listed = Tool.objects.filter(server=bad_server, listed=True).values_list("key", flat=True)
    assert "of_before" not in await in_thread(list, listed)


def _approve_all() -> None:
    for row in Tool.objects.all():
        row.approved_sha256 = row.sha256
        row.save()


async def test_a_server_that_is_gone_fails_the_call(cast: Cast, hostile: Hostile) -> None:
    bad_server = await in_thread(add_server, cast, hostile.url)
    tools = await in_thread(tool_specs, bad_server)
    hostile.tools = [tool("new")]
    async with Sessions() as sessions:
        refused = await sessions.call(tools["fine"], {})

    row = await in_thread(Tool.objects.get, server=bad_server, key="fine")
    assert refused.text == CHANGED
    assert not row.listed


@pytest.mark.parametrize(
    "change", [{"enabled": False}, {"url": "https://203.0.113.7/mcp"}], ids=["disabled", "moved"]
)
async def test_a_server_that_was_changed_during_the_run_gets_no_request(
    server: McpServer, good: Running, cast: Cast, change: dict[str, Any]
) -> None:
    tools = await in_thread(tool_specs, server)
    good.requests.clear()
    await in_thread(lambda: update_mcp_server(user=cast.admin, server_id=server.pk, **change))

    async with Sessions() as sessions:
        refused = await sessions.call(tools["echo"], {"text": "hello"})

    assert refused.short == "server changed"
    assert good.requests == []


@pytest.mark.parametrize(
    "change", [{"enabled": False}, {"headers": {}}, {"auth": "bearer", "token": "new"}], ids=str
)
async def test_a_server_that_was_changed_after_a_call_gets_no_further_one(
    cast: Cast, good: Running, change: dict[str, Any]
) -> None:
    server = await in_thread(add_server, cast, good.url, headers={"X-Key": "old"})
    tools = await in_thread(tool_specs, server)
    async with Sessions() as sessions:
        first = await sessions.call(tools["echo"], {"text": "hello"})
        await in_thread(lambda: update_mcp_server(user=cast.admin, server_id=server.pk, **change))
        refused = await sessions.call(tools["echo"], {"text": "hello"})

    assert first.text == "hello"
    assert refused.short == "server changed"
    assert [name for name, _ in good.called] == ["echo"]


def test_each_failure_has_words() -> None:
    assert set(FAILURES) == set(get_args(FailureCode))
    assert set(SENTENCES) == set(get_args(FailureCode))
