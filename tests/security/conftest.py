"""The two teams of the permission matrix."""

import pytest

from tests.security.principals import Tenant, make_tenant


@pytest.fixture
def victim(db: None) -> Tenant:
    """The team that outsiders try to reach."""
    return make_tenant("Victim")


@pytest.fixture
def own(db: None) -> Tenant:
    """The team of the outsiders."""
    return make_tenant("Own")
