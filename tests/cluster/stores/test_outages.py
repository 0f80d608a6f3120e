"""Acknowledged messages survive outages of the stores, and rooms stream again after them."""

import signal

from tests.chaos.stores.outages import (
    end_connections,
    flush_redis,
    freeze_redis,
    inject_outages,
    kill_redis,
    pause_redis,
    restart_postgres,
)
from tests.chaos.target import Target


async def test_no_acknowledged_message_is_lost_when_postgresql_fails(target: Target) -> None:
    faults = [
        restart_postgres(signal.SIGINT),
        restart_postgres(signal.SIGQUIT),
        end_connections(4),
    ]

    outcome = await inject_outages(target, faults, answers=6, pause=0.1)

    assert outcome.violations == []
    assert outcome.figures["messages acknowledged"] > 20


async def test_rooms_stream_live_again_after_redis_has_recovered(target: Target) -> None:
    faults = [kill_redis(1), flush_redis, pause_redis(2), freeze_redis(3)]

    outcome = await inject_outages(target, faults, answers=6, pause=0.1)

    assert outcome.violations == []
    assert outcome.figures["messages acknowledged"] > 20
