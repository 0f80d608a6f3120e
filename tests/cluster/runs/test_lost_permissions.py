"""A run ends when the permission for it ends."""

from collections.abc import Iterator

import pytest

from tests.chaos.runs.lost_permissions import SLOTS, revoke_permissions
from tests.chaos.target import Target
from tests.cluster.harness.cluster import private_cluster
from tests.provider import Provider


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Target]:
    """Workers with so few run slots that runs wait in the queue."""
    folder = tmp_path_factory.mktemp("permissions")
    options = {"workers": 2, "MARU_RUN_CONCURRENCY": str(SLOTS)}
    with private_cluster(folder, provider.address, **options) as started:
        yield Target(started, provider)


async def test_queued_and_running_runs_fail_when_their_permission_is_revoked(
    target: Target,
) -> None:
    outcome = await revoke_permissions(target)

    assert outcome.violations == []
    assert outcome.figures["permission revoked while queued"] == 3
    assert outcome.figures["permission revoked while running"] == 3
