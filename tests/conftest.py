"""Fixtures of the whole suite."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client
from django.utils import translation
from pytest_django import Settings

from tests.live import ROOT, Installation
from tests.openapi import checked


@pytest.fixture(autouse=True)
def _fast_passwords(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def _default_language() -> Iterator[None]:
    """Deactivate the language that a request of Django's test client has left in this thread."""
    yield
    translation.deactivate()


@pytest.fixture(autouse=True, scope="session")
def _checked_responses() -> Iterator[None]:
    """Check every response that Django's test client gets from the REST API."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Client, "request", checked(Client.request))
        yield


@pytest.fixture(autouse=True)
def _invariants(request: pytest.FixtureRequest) -> Iterator[None]:
    """Assert after each test that the rows violate no condition of `tests.security.invariants`."""
    marked = request.node.get_closest_marker("django_db") is not None
    has_database = marked or not {"db", "transactional_db"}.isdisjoint(request.fixturenames)
    if has_database:
        request.getfixturevalue("db")  # keeps the database until the check below
    yield
    if has_database:
        from tests.security.invariants import violations

        assert violations() == []


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running server with its own data folder and port."""
    with Installation(tmp_path_factory.mktemp("installation")) as running:
        yield running


@pytest.fixture(scope="session")
def root() -> Path:
    """The root folder of the project."""
    return ROOT
