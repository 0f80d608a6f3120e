"""MARU_EGRESS_PROXY: requests to providers go through the proxy, after the egress guard."""

import asyncio
import logging

import pytest
from pytest_django.fixtures import Settings

from agents.engine_types import Limits
from agents.services.connection_check import check_provider
from maru.config.service_urls import parse_proxy_url
from tests.agents.egress.connect_proxy import connect_proxy
from tests.agents.engine.answers import ask, persona
from tests.deadlines import DEADLINE
from tests.provider import Provider

PASSWORD = "proxy-CANARY-password"
CREDENTIALS = "Basic bWFydTpwcm94eS1DQU5BUlktcGFzc3dvcmQ="
LIMITS = Limits(seconds=DEADLINE, max_attempts=1)

pytestmark = pytest.mark.usefixtures("crewai_imported")


@pytest.fixture(scope="module")
def crewai_imported() -> None:
    """Import CrewAI, which takes seconds, before the time limit of an answer starts."""
    from agents.engine import warm

    asyncio.run(warm())


def set_proxy(settings: Settings, port: int) -> None:
    settings.EGRESS_PROXY = parse_proxy_url(f"http://maru:{PASSWORD}@127.0.0.1:{port}")


async def test_an_answer_goes_through_the_proxy(provider: Provider, settings: Settings) -> None:
    async with connect_proxy() as proxy:
        set_proxy(settings, proxy.port)
        result = await ask(persona(provider.base_url, "tokens-3", temperature=0.1), limits=LIMITS)

    assert result.text == "t0 t1 t2 "
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT {provider.address} HTTP/1.1\r\n")
    assert f"Proxy-Authorization: {CREDENTIALS}\r\n" in head
    assert "proxy-authorization" not in provider.requests[0].headers


async def test_a_connection_check_goes_through_the_proxy(
    provider: Provider, settings: Settings
) -> None:
    async with connect_proxy() as proxy:
        set_proxy(settings, proxy.port)
        result = await asyncio.to_thread(
            check_provider, kind="openai", base_url=provider.base_url, key="k"
        )

    assert result.ok
    assert len(proxy.heads) == 1


async def test_the_egress_guard_refuses_before_the_proxy_is_asked(
    provider: Provider, settings: Settings
) -> None:
    settings.EGRESS_ALLOW = frozenset()
    async with connect_proxy() as proxy:
        set_proxy(settings, proxy.port)
        result = await ask(persona(provider.base_url, "tokens-3", temperature=0.2), limits=LIMITS)

    assert result.code == "not_allowed"
    assert proxy.heads == []


@pytest.mark.parametrize(
    "status", ["403 Forbidden", "407 Proxy Authentication Required", "garbage"]
)
async def test_a_proxy_that_refuses_is_unavailable_and_reveals_no_secret(
    provider: Provider, settings: Settings, status: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect_proxy(status) as proxy:
        set_proxy(settings, proxy.port)
        with caplog.at_level(logging.DEBUG):
            spec = persona(provider.base_url, "tokens-3", temperature=0.3)
            result = await ask(spec, limits=LIMITS)

    assert result.failed is not None
    assert result.failed.code == "provider_unavailable"
    assert provider.requests == []
    for secret in (PASSWORD, CREDENTIALS.split()[1]):
        shown = repr(vars(result.failed)) + caplog.text + repr(settings.EGRESS_PROXY)
        assert secret not in shown


async def test_a_proxy_that_is_away_is_not_bypassed(provider: Provider, settings: Settings) -> None:
    async with connect_proxy() as proxy:
        port = proxy.port
    set_proxy(settings, port)

    result = await ask(persona(provider.base_url, "tokens-3", temperature=0.4), limits=LIMITS)

    assert result.code == "provider_unavailable"
    assert provider.requests == []
