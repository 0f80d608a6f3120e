"""All come at once, and a web process goes: nobody is turned away, every answer arrives whole."""

from collections.abc import Iterator

import pytest

from tests.chaos.fanout.reconnect_storm import storm
from tests.cluster.harness.cluster import Cluster, cluster_of_its_own
from tests.provider import Provider

AT_ONCE = 300


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Cluster]:
    """Two web processes and a worker, in whose output everything is the storm's."""
    folder = tmp_path_factory.mktemp("storm")
    with cluster_of_its_own(folder, provider.address) as started:
        yield started


async def test_hundreds_of_pages_come_at_once_and_come_back_when_their_process_is_replaced(
    cluster: Cluster, provider: Provider
) -> None:
    outcome = await storm(cluster, provider, sockets=AT_ONCE)

    assert outcome.complaints == []
    assert outcome.figures["of these, heard to the end"] > 0
    for web in cluster.webs:
        assert "redis.away" not in web.output
        assert "Traceback" not in web.output
