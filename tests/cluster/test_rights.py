"""Whoever loses a right in the middle of an answer is told no more of it, nor is the room."""

from typing import Any

import pytest

from tests.chaos.rights import SLOTS, take_rights
from tests.chaos.stage import Stage


@pytest.fixture(scope="module")
def settings_of_stage() -> dict[str, Any]:
    return {"MARU_RUN_CONCURRENCY": str(SLOTS)}


async def test_answer_ends_when_the_right_to_it_ends(stage: Stage) -> None:
    outcome = await take_rights(stage)

    assert outcome.complaints == []
    assert outcome.figures["lost their right while queued"] == 3
    assert outcome.figures["lost their right while running"] == 3
