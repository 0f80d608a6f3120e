"""A web process is killed after a commit, and before anybody was told."""

from tests.chaos.stores.web_crashes import crash_webs
from tests.chaos.target import Stage


async def test_what_was_kept_is_heard_though_nobody_was_left_to_announce_it(stage: Stage) -> None:
    outcome = await crash_webs(stage, crashes=2)

    assert outcome.complaints == []
    assert outcome.figures["kept, and not heard elsewhere at the crash"] > 0
