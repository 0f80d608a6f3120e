"""The cast of the agents' tests."""

import pytest
from pytest_django import Settings

from agents.egress.dns import names
from tests.agents.cast import ALLOWED, Cast, make_cast


@pytest.fixture(autouse=True)
def _unknown_names() -> None:
    """What one test has called a name, the next may call otherwise."""
    names.forget()


@pytest.fixture
def cast(db: None, settings: Settings) -> Cast:
    settings.EGRESS_ALLOW = ALLOWED
    return make_cast()
