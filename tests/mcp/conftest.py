"""Fixtures of the tests with MCP servers."""

from collections.abc import AsyncIterator, Iterator

import pytest
from pytest_django import Settings

from agents.egress.dns import resolver
from agents.mcp.client import Session
from tests.agents.engine.answers import TEAM
from tests.mcp.good import run_good
from tests.mcp.hostile import Hostile, run_hostile
from tests.mcp.oauth import Protected, run_protected
from tests.mcp.servers import Running
from tests.provider import Provider
from tests.provider import running as running_provider


@pytest.fixture(autouse=True)
def _empty_dns_cache() -> None:
    resolver.clear_cache()


@pytest.fixture
def good(settings: Settings) -> Iterator[Running]:
    with run_good() as running:
        settings.EGRESS_ALLOW |= {running.address}
        yield running


@pytest.fixture
def hostile(settings: Settings) -> Iterator[Hostile]:
    with run_hostile() as running:
        settings.EGRESS_ALLOW |= {running.address}
        yield running


@pytest.fixture
async def good_session(good: Running) -> AsyncIterator[Session]:
    session = Session(url=good.url, team=TEAM)
    await session.open()
    yield session
    await session.close()


@pytest.fixture
async def session(hostile: Hostile) -> AsyncIterator[Session]:
    """A session with the hostile server."""
    session = Session(url=hostile.url, team=TEAM)
    await session.open()
    yield session
    await session.close()


@pytest.fixture
def provider(settings: Settings) -> Iterator[Provider]:
    with running_provider() as provider:
        settings.EGRESS_ALLOW |= {provider.address}
        yield provider


@pytest.fixture
def protected(settings: Settings) -> Iterator[Protected]:
    with run_protected() as running:
        settings.EGRESS_ALLOW |= {running.address}
        yield running
