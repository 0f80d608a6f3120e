"""Connections are cut, layer messages are dropped, Redis loses data: texts stay correct."""

from collections.abc import Iterator

import pytest

from tests.chaos.fanout.cut_connections import LOSSY, cut_connections, faults_of
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.services import Postgres, Redis
from tests.provider import Provider

CUTS = 300


@pytest.fixture(scope="module")
def lossy(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, redis: Redis, provider: Provider
) -> Iterator[Cluster]:
    """Two web processes, each of which drops 3 % of the layer's messages."""
    folder = tmp_path_factory.mktemp("lossy")
    cluster = Cluster(folder, postgres, redis, MARU_EGRESS_ALLOW=provider.address, **LOSSY)
    with cluster as started:
        yield started


async def test_answers_are_complete_after_cuts_dropped_messages_and_faults_of_redis(
    lossy: Cluster, redis: Redis, provider: Provider
) -> None:
    outcome = await cut_connections(lossy, provider, cuts=CUTS, faults=faults_of(redis))

    figures = outcome.figures
    assert outcome.violations == []
    assert figures["cut connections"] >= CUTS
    assert figures["answers received live to the end"] >= figures["answers"] // 2
