"""Requests to Redis that may fail, as the tasks of answers make them."""

import asyncio

import pytest

from rooms import redis_clients
from rooms.redis_clients import best_effort
from tests.deadlines import DEADLINE


async def test_request_that_loses_a_cancellation_does_not_keep_its_task_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """redis-py returns the reply if the task is cancelled while `wait_for` completes."""
    # An earlier test of this process may have failed a request within the last second.
    monkeypatch.setattr(redis_clients, "_backoff_until", 0.0)
    sending = asyncio.Event()

    async def request() -> str:
        sending.set()
        try:
            await asyncio.sleep(DEADLINE)
        except asyncio.CancelledError:
            return "reply"
        return "no cancellation"

    task = asyncio.create_task(best_effort(request, None))
    async with asyncio.timeout(DEADLINE):
        await sending.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
