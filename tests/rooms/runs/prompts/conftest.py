"""Fixtures: a stub provider, and the room of the cast with a persona on it."""

import asyncio
from collections.abc import Iterator

import pytest
from pytest_django import Settings

from agents.engine import warm
from tests.provider import Provider, running
from tests.rooms.conftest import Cast
from tests.rooms.runs.prompts.asking import give_model


@pytest.fixture(scope="session")
def crewai_imported() -> None:
    """Import CrewAI, which takes seconds, before the time limit of an answer starts."""
    asyncio.run(warm())


@pytest.fixture(scope="module")
def module_provider() -> Iterator[Provider]:
    with running() as started:
        yield started


@pytest.fixture
def provider(module_provider: Provider, settings: Settings, crewai_imported: None) -> Provider:
    """Return the stub provider of the module, without records."""
    settings.EGRESS_ALLOW = frozenset({module_provider.address})
    module_provider.clear()
    return module_provider


@pytest.fixture
def asked(cast: Cast, provider: Provider) -> Cast:
    """Return the cast, whose persona has the model `echo-prompt`."""
    give_model(cast.owner, cast.persona, provider, "echo-prompt")
    cast.persona.refresh_from_db()
    return cast
