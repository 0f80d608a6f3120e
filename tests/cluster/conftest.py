"""The services and the cluster of a module: its tests may break what they like."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.chaos.stage import Stage
from tests.cluster.cluster import Cluster
from tests.cluster.services import Postgres, Redis, missing
from tests.provider import Provider, running


@pytest.fixture(scope="session", autouse=True)
def _installed() -> None:
    if absent := missing():
        pytest.skip(f"not installed: {', '.join(absent)}")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of our own."""
    with Postgres() as started:
        yield started


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    """A Redis of our own."""
    with Redis() as started:
        yield started


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """A model provider that answers as we tell it to."""
    with running() as started:
        yield started


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, redis: Redis, provider: Provider
) -> Iterator[Cluster]:
    """Two web processes and a worker."""
    folder = tmp_path_factory.mktemp("cluster")
    with Cluster(folder, postgres, redis, MARU_EGRESS_ALLOW=provider.address) as started:
        yield started


@pytest.fixture(scope="module")
def settings_of_stage() -> dict[str, Any]:
    """What is set for the processes of `stage`, as keywords; a module may say something else."""
    return {}


@pytest.fixture(scope="module")
def stage(
    tmp_path_factory: pytest.TempPathFactory,
    postgres: Postgres,
    redis: Redis,
    provider: Provider,
    settings_of_stage: dict[str, Any],
) -> Iterator[Stage]:
    """Two web processes and two workers, to be broken."""
    folder = tmp_path_factory.mktemp("stage")
    env = {"MARU_EGRESS_ALLOW": provider.address, **settings_of_stage}
    with Cluster(folder, postgres, redis, workers=2, **env) as started:
        yield Stage(started, provider)
