"""PostgreSQL and Redis of a module, as in the cluster tests, but with an empty database."""

from collections.abc import Iterator

import pytest

from tests.cluster.conftest import _installed, provider, redis
from tests.cluster.harness.services import Postgres

__all__ = ["_installed", "provider", "redis"]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL with an empty database: the tests include the migration."""
    with Postgres() as started:
        yield started
