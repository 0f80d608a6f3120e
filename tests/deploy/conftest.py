"""The services of a module, as the cluster's tests have them, but for an empty PostgreSQL."""

from collections.abc import Iterator

import pytest

from tests.cluster.conftest import _installed, provider, redis
from tests.cluster.harness.services import Postgres

__all__ = ["_installed", "provider", "redis"]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL in which nothing is: to bring it up to date is part of what is tried."""
    with Postgres() as started:
        yield started
