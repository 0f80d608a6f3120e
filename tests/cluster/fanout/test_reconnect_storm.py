"""Hundreds of browsers connect at once, and reconnect when their web process is replaced."""

from collections.abc import Iterator

import pytest

from tests.chaos.fanout.reconnect_storm import storm
from tests.cluster.harness.cluster import Cluster, private_cluster
from tests.provider import Provider

SOCKETS = 300


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Cluster]:
    """Two web processes and a worker whose output contains only the lines of this test."""
    folder = tmp_path_factory.mktemp("storm")
    with private_cluster(folder, provider.address) as started:
        yield started


async def test_hundreds_of_pages_connect_at_once_and_reconnect_after_a_restart(
    cluster: Cluster, provider: Provider
) -> None:
    outcome = await storm(cluster, provider, sockets=SOCKETS)

    assert outcome.violations == []
    assert outcome.figures["of these, received live to the end"] > 0
    for web in cluster.webs:
        assert "redis.away" not in web.output
        assert "Traceback" not in web.output
