"""What was acknowledged is kept, and rooms are live again, whatever becomes of the stores."""

import signal

from tests.chaos.stores.outages import (
    break_store,
    end_connections,
    flush_redis,
    freeze_redis,
    kill_redis,
    pause_redis,
    restart_postgres,
)
from tests.chaos.target import Stage


async def test_nothing_acknowledged_is_lost_when_postgresql_goes_away(stage: Stage) -> None:
    breaks = [restart_postgres(signal.SIGINT), restart_postgres(signal.SIGQUIT), end_connections(4)]

    outcome = await break_store(stage, breaks, answers=6, pause=0.1)

    assert outcome.complaints == []
    assert outcome.figures["messages acknowledged"] > 20


async def test_rooms_are_live_again_when_redis_is(stage: Stage) -> None:
    breaks = [kill_redis(1), flush_redis, pause_redis(2), freeze_redis(3)]

    outcome = await break_store(stage, breaks, answers=6, pause=0.1)

    assert outcome.complaints == []
    assert outcome.figures["messages acknowledged"] > 20
