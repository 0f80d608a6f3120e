"""Refreshes of the tokens of MCP servers: once for all runs, and nothing is lost."""

import asyncio
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from agents.mcp import oauth, tokens
from agents.mcp.sessions import Sessions
from agents.mcp.threads import in_thread
from agents.mcp.transport import McpFailed
from agents.models import McpServer, McpSignIn
from agents.provider_keys import decrypt
from agents.tool_types import McpSpec
from tests.agents.cast import ALLOWED, Cast, make_cast
from tests.mcp.oauth import Protected
from tests.mcp.test_sign_in import add_server, client_of, sign_in
from tests.mcp.toolset import server_spec, tool_specs

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cast(transactional_db: None, settings: Settings) -> Cast:
    settings.EGRESS_ALLOW |= ALLOWED
    return make_cast()


async def test_tokens_that_end_are_refreshed_once_for_all_runs(
    cast: Cast, protected: Protected
) -> None:
    def prepare() -> McpServer:
        server = add_server(cast, protected)
        sign_in(client_of(cast.admin), server, protected, "team")
        McpSignIn.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        return server

    server = await in_thread(prepare)
    spec = await in_thread(server_spec, server)
    protected.forms.clear()

    found = await asyncio.gather(*(tokens.access_token(spec) for _ in range(8)))

    assert len(set(found)) == 1
    assert found[0] in protected.valid
    assert [form["grant_type"] for form in protected.forms] == ["refresh_token"]


async def test_a_rejected_token_is_refreshed_and_the_call_is_made(
    cast: Cast, protected: Protected
) -> None:
    def prepare() -> dict[str, Any]:
        server = add_server(cast, protected)
        sign_in(client_of(cast.admin), server, protected, "team")
        return tool_specs(server)

    specs = await in_thread(prepare)
    async with Sessions() as sessions:
        await sessions.call(specs["fine"], {})
        protected.valid.clear()
        within = await sessions.call(specs["fine"], {})
    protected.valid.clear()
    async with Sessions() as sessions:
        at_open = await sessions.call(specs["fine"], {})

    assert (within.text, at_open.text) == ("fine", "fine")


async def test_an_ended_sign_in_is_deleted_and_asked_for(cast: Cast, protected: Protected) -> None:
    def prepare() -> McpServer:
        server = add_server(cast, protected)
        sign_in(client_of(cast.admin), server, protected, "team")
        McpSignIn.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        return server

    server = await in_thread(prepare)
    spec = await in_thread(server_spec, server)
    protected.refreshable.clear()

    with pytest.raises(McpFailed, match="sign_in"):
        await tokens.access_token(spec)

    assert not await in_thread(McpSignIn.objects.filter(server=server).exists)


@dataclass
class Slow:
    """A refresh that the authorization server has done, and whose answer is on its way."""

    asked: asyncio.Event
    arrive: asyncio.Event


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    slow, refresh = Slow(asyncio.Event(), asyncio.Event()), oauth.refresh

    async def delayed(*args: Any) -> oauth.Tokens:
        try:
            return await refresh(*args)
        finally:
            slow.asked.set()
            await slow.arrive.wait()

    monkeypatch.setattr(oauth, "refresh", delayed)
    return slow


def _ending(cast: Cast, protected: Protected) -> tuple[McpServer, McpSpec]:
    server = add_server(cast, protected)
    sign_in(client_of(cast.admin), server, protected, "team")
    McpSignIn.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    return server, server_spec(server)


async def test_a_stop_during_a_refresh_loses_no_token(
    cast: Cast, protected: Protected, slow: Slow
) -> None:
    _server, spec = await in_thread(_ending, cast, protected)
    protected.forms.clear()
    stopped = asyncio.create_task(tokens.access_token(spec))
    await slow.asked.wait()

    stopped.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopped
    slow.arrive.set()

    assert await tokens.access_token(spec) in protected.valid
    assert [form["grant_type"] for form in protected.forms] == ["refresh_token"]


@pytest.mark.parametrize("ended", [False, True])
async def test_a_refresh_leaves_a_newer_sign_in_alone(
    cast: Cast, protected: Protected, slow: Slow, *, ended: bool
) -> None:
    server, spec = await in_thread(_ending, cast, protected)
    if ended:
        protected.refreshable.clear()
    refreshing = asyncio.create_task(tokens.access_token(spec))
    await slow.asked.wait()

    await in_thread(lambda: sign_in(client_of(cast.admin), server, protected, "newer"))
    stored = (await in_thread(McpSignIn.objects.get)).tokens_encrypted
    slow.arrive.set()
    found = await refreshing

    assert json.loads(decrypt(stored))["access"] == found
    assert (await in_thread(McpSignIn.objects.get)).tokens_encrypted == stored
