"""Fixtures of the agents' tests."""

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from agents.egress.dns import resolver
from tests.agents.cast import ALLOWED, Cast, make_cast
from tests.provider import Provider, running


@pytest.fixture(autouse=True)
def _empty_dns_cache() -> None:
    """Tests resolve the same names to different addresses."""
    resolver.clear_cache()


@pytest.fixture
def cast(db: None, settings: Settings) -> Cast:
    settings.EGRESS_ALLOW = ALLOWED
    return make_cast()


@pytest.fixture(scope="module")
def module_provider() -> Iterator[Provider]:
    with running() as provider:
        yield provider


@pytest.fixture
def provider(module_provider: Provider, settings: Settings) -> Provider:
    """Return the stub provider of the module, allowed, without connections and records."""
    settings.EGRESS_ALLOW = frozenset({module_provider.address})
    assert module_provider.wait(lambda provider: provider.connections == 0)
    module_provider.clear()
    return module_provider
