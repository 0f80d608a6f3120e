"""The resources of a worker do not grow with its answers."""

from collections.abc import Iterator

import pytest

from tests.chaos.runs.worker_growth import answer_many
from tests.chaos.target import Target
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.resource_usage import MeasuredWorker
from tests.cluster.harness.services import Postgres, Redis
from tests.provider import Provider

SLACK = 12
"""Connections and threads that a pool may still hold; a leak would be one per answer."""


@pytest.fixture(scope="module")
def measured(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, redis: Redis, provider: Provider
) -> Iterator[Target]:
    """Two web processes and a worker that reports its handlers."""
    folder = tmp_path_factory.mktemp("measured")
    allowed = provider.address
    cluster = Cluster(folder, postgres, redis, worker=MeasuredWorker, MARU_EGRESS_ALLOW=allowed)
    with cluster as started:
        yield Target(started, provider)


async def test_worker_uses_no_more_resources_after_many_answers(measured: Target) -> None:
    outcome = await answer_many(measured, warm_up=120, runs=120, concurrency=30)

    assert outcome.violations == []
    assert outcome.figures["more threads, largest"] <= SLACK
    assert outcome.figures["more file descriptors, largest"] <= SLACK
    assert outcome.figures["RSS growth, largest (MB)"] <= 50
