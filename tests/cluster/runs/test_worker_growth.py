"""Answers leave nothing behind in the worker that gave them."""

from collections.abc import Iterator

import pytest

from tests.chaos.runs.worker_growth import answer_many
from tests.chaos.target import Stage
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.resource_usage import CountedWorker
from tests.cluster.harness.services import Postgres, Redis
from tests.provider import Provider

SLACK = 12
"""Connections and threads that a pool has opened and not given up yet; a leak is one an answer."""


@pytest.fixture(scope="module")
def counted(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, redis: Redis, provider: Provider
) -> Iterator[Stage]:
    """Two web processes and a worker that says how many handlers it has."""
    folder = tmp_path_factory.mktemp("counted")
    allowed = provider.address
    made = Cluster(folder, postgres, redis, worker=CountedWorker, MARU_EGRESS_ALLOW=allowed)
    with made as started:
        yield Stage(started, provider)


async def test_worker_holds_no_more_after_many_answers(counted: Stage) -> None:
    outcome = await answer_many(counted, warm=120, runs=120, at_once=30)

    assert outcome.complaints == []
    assert outcome.figures["threads more, most"] <= SLACK
    assert outcome.figures["file descriptors more, most"] <= SLACK
    assert outcome.figures["RSS grown by, most (MB)"] <= 50
