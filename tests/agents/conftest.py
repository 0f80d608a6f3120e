"""The cast of the agents' tests."""

import pytest
from pytest_django import Settings

from tests.agents.cast import ALLOWED, Cast, make_cast


@pytest.fixture
def cast(db: None, settings: Settings) -> Cast:
    settings.EGRESS_ALLOW = ALLOWED
    return make_cast()
