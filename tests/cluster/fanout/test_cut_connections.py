"""Whatever is cut, lost or forgotten: each client has each delta once, or starts over."""

from collections.abc import Iterator

import pytest

from tests.chaos.fanout.cut_connections import LOSSY, cut_wires, faults_of
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.services import Postgres, Redis
from tests.provider import Provider

CUTS = 300


@pytest.fixture(scope="module")
def lossy(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, redis: Redis, provider: Provider
) -> Iterator[Cluster]:
    """Two web processes, each of which loses three of a hundred messages of the layer."""
    folder = tmp_path_factory.mktemp("lossy")
    made = Cluster(folder, postgres, redis, MARU_EGRESS_ALLOW=provider.address, **LOSSY)
    with made as started:
        yield started


async def test_answers_are_whole_after_cuts_losses_and_a_redis_that_forgets(
    lossy: Cluster, provider: Provider, redis: Redis
) -> None:
    tally = await cut_wires(lossy, provider, cuts=CUTS, faults=faults_of(redis))

    assert tally.complaints == []
    assert tally.connections >= CUTS
    assert tally.heard_to_the_end >= tally.answers // 2
