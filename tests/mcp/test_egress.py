"""No way out of an MCP server leads to an address that the egress guard refuses."""

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from pytest_django import Settings

from agents.egress.dns import resolver
from agents.mcp import child, oauth
from agents.mcp.client import Session
from agents.mcp.oauth import OAuthFailed
from agents.mcp.transport import McpFailed
from tests.agents.engine.answers import TEAM
from tests.mcp.hostile import Hostile, tool
from tests.mcp.servers import Running

PRIVATE = ["127.0.0.1", "[::1]", "0x7f.1", "2130706433", "[::ffff:7f00:1]", "localhost"]


@pytest.fixture
def set_addresses(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Resolve a name to the given addresses in turn, then always to the last; return the log."""
    real = socket.getaddrinfo

    def resolve(name: str, *addresses: str) -> list[str]:
        given: list[str] = []

        def fake(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
            if host != name:
                return real(host, port, *rest, **options)
            given.append(addresses[min(len(given), len(addresses) - 1)])
            return real(given[-1], port, *rest, **options)

        monkeypatch.setattr(socket, "getaddrinfo", fake)
        return given

    return resolve


async def _open(url: str) -> str:
    """Return the code of the failure, or an empty text."""
    session = Session(url=url, team=TEAM)
    try:
        await session.open()
        await session.call("fine", {})
    except McpFailed as failure:
        return failure.code
    finally:
        await session.close()
    return ""


@pytest.mark.parametrize("host", PRIVATE)
async def test_a_private_address_gets_no_request(
    hostile: Hostile, settings: Settings, host: str
) -> None:
    settings.EGRESS_ALLOW = frozenset()

    assert await _open(f"http://{host}:{hostile.port}/mcp") == "not_allowed"
    assert hostile.requests == []


@pytest.mark.parametrize("host", PRIVATE)
async def test_a_sign_in_connects_to_no_private_address(
    good: Running, settings: Settings, host: str
) -> None:
    """By https, which needs no permission of the operator for the host."""
    settings.EGRESS_ALLOW = frozenset()
    _host, port = good.address.split(":")

    with pytest.raises(OAuthFailed) as failed:
        await oauth.read_challenge(f"https://{host}:{port}/mcp", TEAM)

    assert failed.value.code == "not_allowed"


async def test_dns_rebinding_has_no_effect(
    hostile: Hostile, settings: Settings, set_addresses: Callable[..., list[str]]
) -> None:
    given = set_addresses("tools.example", "127.0.0.1", "127.0.0.2")
    session = Session(url=f"http://tools.example:{hostile.port}/mcp", team=TEAM)
    await session.open()
    for _ in range(3):
        resolver.clear_cache()
        await session.call("fine", {})
    await session.close()

    assert given == ["127.0.0.1"]  # resolved once in a session: the checked address is used
    assert all(headers["host"] == f"tools.example:{hostile.port}" for headers in _headers(hostile))
    resolver.clear_cache()
    assert await _open(f"http://tools.example:{hostile.port}/mcp") == "not_allowed"


def _headers(running: Running) -> list[dict[str, str]]:
    return [headers for _, _, headers in running.requests]


@pytest.mark.parametrize("path", ["/mcp", "/other"])
async def test_no_redirect_is_followed_not_even_to_the_same_server(
    hostile: Hostile, good: Running, settings: Settings, path: str
) -> None:
    for target in (f"http://{good.address}{path}", f"http://{hostile.address}{path}"):
        session = Session(url=hostile.url, team=TEAM)
        await session.open()
        called = len(hostile.called)
        hostile.redirect_to = target
        with pytest.raises(McpFailed, match="redirected"):
            await session.call("redirect", {})
        assert len(hostile.called) == called + 1
        await session.close()

    assert good.requests == []


async def test_a_proxy_from_the_environment_is_not_used(
    hostile: Hostile, good: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{good.address}")

    assert await _open(hostile.url) == ""
    assert good.requests == []


def test_the_child_gets_its_target_by_standard_input_only(
    hostile: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARU_SECRET_KEY", "key-CANARY")
    hostile.tools = [tool("fine"), tool("long", description="x" * 10_000)]
    started: list[tuple[Any, Any]] = []
    popen = subprocess.Popen

    def start(command: Any, **options: Any) -> Any:
        started.append((command, options["env"]))
        return popen(command, **options)

    monkeypatch.setattr(subprocess, "Popen", start)
    report = child.inspect_server(
        url=hostile.url, team_id=UUID(int=1), headers={"X-Key": "hush-CANARY"}
    )

    assert [found.name for found in report.tools] == ["fine"]
    assert report.left_out == ("long",)
    assert set(hostile.sent("x-key")) == {"hush-CANARY"}
    ((command, environment),) = started
    assert "CANARY" not in json.dumps([command, environment])
    assert set(environment) <= {*child.KEPT_VARIABLES, "PYTHONPATH"}
    assert "MARU_SECRET_KEY" in os.environ


def test_the_child_is_killed_after_its_time(
    hostile: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "SECONDS", 0.01)

    report = child.inspect_server(url=hostile.url, team_id=UUID(int=1), headers={})

    assert (report.problem, report.tools) == ("timeout", ())


def test_the_child_obeys_the_egress_guard(hostile: Hostile, settings: Settings) -> None:
    settings.EGRESS_ALLOW = frozenset()

    report = child.inspect_server(url=hostile.url, team_id=UUID(int=1), headers={})

    assert report.problem == "not_allowed"
    assert hostile.requests == []


async def test_sessions_of_one_loop_are_independent(hostile: Hostile) -> None:
    outcomes = await asyncio.gather(*(_open(hostile.url) for _ in range(5)))

    assert outcomes == [""] * 5
