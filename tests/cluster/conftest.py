"""Stores, clusters and fault targets.

Starting a cluster takes ten seconds of CPU, so modules share one if they leave it usable. The
modules that share run in one test process, one after the other (tests/plugins/scheduling.py).
"""

from collections.abc import Iterator

import pytest

from tests.chaos.target import Target
from tests.cluster.harness.cluster import Cluster, MigratedPostgres, private_cluster
from tests.cluster.harness.services import Postgres, Redis, missing_packages
from tests.provider import Provider, running


@pytest.fixture(scope="session", autouse=True)
def _installed() -> None:
    if absent := missing_packages():
        pytest.skip(f"not installed: {', '.join(absent)}")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A migrated PostgreSQL of the module's own."""
    with MigratedPostgres() as started:
        yield started


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    """A Redis of the module's own."""
    with Redis() as started:
        yield started


@pytest.fixture(scope="package")
def provider() -> Iterator[Provider]:
    """The stub of a model provider."""
    with running() as started:
        yield started


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Cluster]:
    """A shared cluster of two web processes and a worker. All must be running after each test."""
    folder = tmp_path_factory.mktemp("cluster")
    with private_cluster(folder, provider.address) as started:
        yield started


@pytest.fixture(scope="package")
def target_cluster(
    tmp_path_factory: pytest.TempPathFactory, provider: Provider
) -> Iterator[Cluster]:
    """The shared cluster of the fault targets: two web processes and two workers."""
    folder = tmp_path_factory.mktemp("target")
    with private_cluster(folder, provider.address, workers=2) as started:
        yield started


@pytest.fixture(scope="module")
def target(target_cluster: Cluster, provider: Provider) -> Target:
    """A fault target with new rooms; it is fully running again after each test."""
    provider.clear()
    target_cluster.wait_for_workers()
    return Target(target_cluster, provider)
