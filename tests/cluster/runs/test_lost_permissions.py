"""Whoever loses a right in the middle of an answer is told no more of it, nor is the room."""

from collections.abc import Iterator

import pytest

from tests.chaos.runs.lost_permissions import SLOTS, take_rights
from tests.chaos.target import Stage
from tests.cluster.harness.cluster import cluster_of_its_own
from tests.provider import Provider


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Stage]:
    """Workers with so few slots that runs wait in line."""
    folder = tmp_path_factory.mktemp("rights")
    how = {"workers": 2, "MARU_RUN_CONCURRENCY": str(SLOTS)}
    with cluster_of_its_own(folder, provider.address, **how) as started:
        yield Stage(started, provider)


async def test_answer_ends_when_the_right_to_it_ends(stage: Stage) -> None:
    outcome = await take_rights(stage)

    assert outcome.complaints == []
    assert outcome.figures["lost their right while queued"] == 3
    assert outcome.figures["lost their right while running"] == 3
