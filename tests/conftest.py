"""What every test stands on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from tests.live import ROOT, Installation


@pytest.fixture(autouse=True)
def _fast_passwords(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running server, as `make run` starts it, with a data folder and a port of its own."""
    with Installation(tmp_path_factory.mktemp("installation")) as running:
        yield running


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the project."""
    return ROOT
