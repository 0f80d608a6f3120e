"""Requests to Redis that may fail, as the tasks of answers make them."""

import asyncio

import pytest

from rooms.redis_clients import best_effort
from tests.deadlines import DEADLINE


async def test_request_that_loses_a_cancellation_does_not_keep_its_task_alive() -> None:
    """redis-py returns the reply if the task is cancelled while `wait_for` completes."""
    sending = asyncio.Event()

    async def request() -> str:
        sending.set()
        try:
            await asyncio.sleep(DEADLINE)
        except asyncio.CancelledError:
            return "reply"
        return "no cancellation"

    task = asyncio.create_task(best_effort(request, None))
    await sending.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
