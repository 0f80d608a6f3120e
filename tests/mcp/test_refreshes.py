"""Refreshes of the tokens of MCP servers: once for all runs, and nothing is lost.

What is lost all the same, with its process, ends the sign-in: a person is asked to sign in again.
"""

import asyncio
import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from django.db import OperationalError
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
from tests.deadlines import DEADLINE
from tests.mcp.oauth import Protected
from tests.mcp.signing_in import add_server, client_of, sign_in
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


@pytest.mark.parametrize(
    "refusal",
    [
        (400, '{"error": "invalid_grant"}'),
        (200, '{"error": "bad_refresh_token"}'),
        (401, '{"error": "expired_token"}'),
    ],
)
async def test_an_ended_sign_in_is_asked_for(
    cast: Cast, protected: Protected, refusal: tuple[int, str]
) -> None:
    server, spec = await in_thread(_ending, cast, protected)
    protected.refreshable.clear()
    protected.refusal = refusal

    with pytest.raises(McpFailed, match="sign_in"):
        await tokens.access_token(spec)

    assert (await in_thread(McpSignIn.objects.get)).has_ended
    await in_thread(server.refresh_from_db)
    assert server.problem == "sign_in"


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_a_server_that_is_busy_ends_no_sign_in(
    cast: Cast, protected: Protected, status: int
) -> None:
    _server, spec = await in_thread(_ending, cast, protected)
    refreshable = dict(protected.refreshable)
    protected.refreshable.clear()
    protected.refusal = (status, "Later.")

    with pytest.raises(McpFailed, match="unreachable"):
        await tokens.access_token(spec)
    protected.refreshable.update(refreshable)

    assert await tokens.access_token(spec) in protected.valid


def _kill_during_refresh(protected: Protected) -> None:
    """Leave what a process leaves that dies after the answer to its refresh."""
    row = McpSignIn.objects.get()
    used = json.loads(decrypt(row.tokens_encrypted))["refresh"]
    assert protected.issue({"grant_type": "refresh_token", "refresh_token": used})
    McpSignIn.objects.update(refreshing_until=timezone.now() - timedelta(seconds=1))


@pytest.mark.parametrize("refusal", [(400, '{"error": "invalid_grant"}'), (401, "<p>No.</p>")])
async def test_a_token_that_died_with_its_worker_is_asked_for(
    cast: Cast, protected: Protected, refusal: tuple[int, str]
) -> None:
    def prepare() -> tuple[McpServer, dict[str, Any]]:
        server = add_server(cast, protected, personal=True)
        sign_in(client_of(cast.admin), server, protected, "admin")
        sign_in(client_of(cast.member), server, protected, "member")
        McpSignIn.objects.exclude(user=cast.member).delete()
        McpSignIn.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        _kill_during_refresh(protected)
        return server, tool_specs(server, cast.member.pk)

    server, specs = await in_thread(prepare)
    protected.refusal = refusal

    async with Sessions() as sessions:
        results = [await sessions.call(specs["fine"], {}) for _ in range(2)]

    assert [(result.failed, result.short) for result in results] == [(True, "needs a sign-in")] * 2
    assert f"/mcp/{server.pk}/sign-in/" in results[0].text

    def look() -> list[str]:
        client = client_of(cast.member)
        paths = ("/mcp/", f"/mcp/{server.pk}/sign-in/")
        return [client.get(path).content.decode() for path in paths]

    listed, page = await in_thread(look)
    assert "Sign-in ended" in listed
    assert "The server has ended this sign-in. Sign in again." in page

    await in_thread(lambda: sign_in(client_of(cast.member), server, protected, "member"))
    async with Sessions() as sessions:
        assert (await sessions.call(specs["fine"], {})).text == "fine"


async def test_an_unreadable_refusal_is_no_endless_error(cast: Cast, protected: Protected) -> None:
    _server, spec = await in_thread(_ending, cast, protected)
    protected.refreshable.clear()
    protected.refusal = (401, "<p>No.</p>")

    codes = []
    for _ in range(2):
        with pytest.raises(McpFailed) as failed:
            await tokens.access_token(spec)
        codes.append(failed.value.code)

    assert codes == ["unauthorized", "sign_in"]


@dataclass
class Slow:
    """The first refresh: the authorization server has done it, and its answer is on its way."""

    asked: Event = field(default_factory=Event)
    arrive: Event = field(default_factory=Event)

    async def wait(self) -> None:
        assert await asyncio.to_thread(self.asked.wait, DEADLINE)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    slow, refresh = Slow(), oauth.refresh

    async def delayed(*args: Any) -> oauth.Tokens:
        try:
            return await refresh(*args)
        finally:
            if not slow.asked.is_set():
                slow.asked.set()
                assert slow.arrive.wait(DEADLINE)  # the loop of this thread has nothing else to do

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
    await slow.wait()

    stopped.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopped
    slow.arrive.set()

    assert await tokens.access_token(spec) in protected.valid
    assert [form["grant_type"] for form in protected.forms] == ["refresh_token"]


def test_a_worker_that_ends_during_a_refresh_loses_no_token(
    cast: Cast, protected: Protected, slow: Slow
) -> None:
    _server, spec = _ending(cast, protected)
    protected.forms.clear()

    async def work() -> None:
        asyncio.create_task(tokens.access_token(spec))  # noqa: RUF006 - the end of the loop ends it
        await slow.wait()

    asyncio.run(work())
    slow.arrive.set()

    assert tokens.access_token_sync(spec) in protected.valid
    assert [form["grant_type"] for form in protected.forms] == ["refresh_token"]


def test_tokens_are_not_for_the_address_before(cast: Cast, protected: Protected) -> None:
    """The server has been moved, and a person has signed in there, since a run has begun."""
    _server, spec = _ending(cast, protected)

    with pytest.raises(McpFailed) as refused:
        tokens.access_token_sync(replace(spec, url="https://203.0.113.7/before"))

    assert refused.value.code == "removed"
    assert "refresh_token" not in [form["grant_type"] for form in protected.forms]


async def test_tokens_are_stored_when_the_database_is_back(
    cast: Cast, protected: Protected, monkeypatch: pytest.MonkeyPatch
) -> None:
    _server, spec = await in_thread(_ending, cast, protected)
    replace, failures = tokens._replace, 2

    def unavailable(*args: Any) -> bool:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise OperationalError
        return replace(*args)

    monkeypatch.setattr(tokens, "_replace", unavailable)
    monkeypatch.setattr(tokens, "RETRY_SECONDS", 0.01)

    assert await tokens.access_token(spec) in protected.valid


async def test_the_holder_of_an_expired_lease_stores_its_tokens(
    cast: Cast, protected: Protected, slow: Slow
) -> None:
    _server, spec = await in_thread(_ending, cast, protected)
    holder = asyncio.create_task(tokens.access_token(spec))
    await slow.wait()
    expired = timezone.now() - timedelta(seconds=1)
    await in_thread(lambda: McpSignIn.objects.update(refreshing_until=expired))
    with pytest.raises(McpFailed, match="sign_in"):
        await tokens.access_token(spec)
    slow.arrive.set()

    assert await holder in protected.valid
    assert await tokens.access_token(spec) == await holder


@pytest.mark.parametrize("ended", [False, True])
async def test_a_refresh_leaves_a_newer_sign_in_alone(
    cast: Cast, protected: Protected, slow: Slow, *, ended: bool
) -> None:
    server, spec = await in_thread(_ending, cast, protected)
    if ended:
        protected.refreshable.clear()
    refreshing = asyncio.create_task(tokens.access_token(spec))
    await slow.wait()

    await in_thread(lambda: sign_in(client_of(cast.admin), server, protected, "newer"))
    stored = (await in_thread(McpSignIn.objects.get)).tokens_encrypted
    slow.arrive.set()
    found = await refreshing

    assert json.loads(decrypt(stored))["access"] == found
    assert (await in_thread(McpSignIn.objects.get)).tokens_encrypted == stored
