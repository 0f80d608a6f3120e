"""A web process is killed after a commit and before the event is published."""

from tests.chaos.stores.web_crashes import crash_webs
from tests.chaos.target import Target


async def test_stored_event_is_received_although_its_process_died_before_publishing(
    target: Target,
) -> None:
    outcome = await crash_webs(target, crashes=2)

    assert outcome.violations == []
    assert outcome.figures["stored but not received elsewhere at the crash"] > 0
