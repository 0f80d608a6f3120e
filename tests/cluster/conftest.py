"""Clusters that many modules share, and services for those that want to be alone with theirs.

To start a cluster costs ten seconds of a processor: whoever finds another one as good shares.
Modules that share run in one process, one after the other (tests/plugins/scheduling.py).
"""

from collections.abc import Iterator

import pytest

from tests.chaos.target import Stage
from tests.cluster.harness.cluster import Cluster, MigratedPostgres, cluster_of_its_own
from tests.cluster.harness.services import Postgres, Redis, missing
from tests.provider import Provider, running


@pytest.fixture(scope="session", autouse=True)
def _installed() -> None:
    if absent := missing():
        pytest.skip(f"not installed: {', '.join(absent)}")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of our own, which has been migrated."""
    with MigratedPostgres() as started:
        yield started


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    """A Redis of our own."""
    with Redis() as started:
        yield started


@pytest.fixture(scope="package")
def provider() -> Iterator[Provider]:
    """A model provider that answers as we tell it to."""
    with running() as started:
        yield started


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Cluster]:
    """Two web processes and a worker, on stores of their own. All are there after each test."""
    folder = tmp_path_factory.mktemp("cluster")
    with cluster_of_its_own(folder, provider.address) as started:
        yield started


@pytest.fixture(scope="package")
def breakable(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Cluster]:
    """Two web processes and two workers, on stores of their own, for `stage`."""
    folder = tmp_path_factory.mktemp("stage")
    with cluster_of_its_own(folder, provider.address, workers=2) as started:
        yield started


@pytest.fixture(scope="module")
def stage(breakable: Cluster, provider: Provider) -> Stage:
    """What may be broken, with rooms that no other module has; whatever breaks is mended."""
    provider.clear()
    breakable.wait_for_workers()
    return Stage(breakable, provider)
