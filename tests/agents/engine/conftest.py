"""Fixtures of the engine's tests."""

import asyncio

import pytest

from agents.engine import warm
from tests.provider import Provider


@pytest.fixture(scope="session")
def crewai_imported() -> None:
    """Import CrewAI, which takes seconds, before the time limit of an answer starts."""
    asyncio.run(warm())


@pytest.fixture
def provider(provider: Provider, crewai_imported: None) -> Provider:
    return provider
