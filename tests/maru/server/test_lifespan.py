"""Background tasks of a process: cancelled at exit, and fatal if they end early."""

import asyncio

import pytest

from maru.server.lifespan import CompanionEnded, running


async def test_task_is_cancelled_when_the_context_exits() -> None:
    ended = asyncio.Event()

    async def run_until_cancelled() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with running(run_until_cancelled(), "companion"):
        await asyncio.sleep(0)

    assert ended.is_set()


@pytest.mark.parametrize("error", [None, ZeroDivisionError()])
async def test_task_that_ends_early_raises_companion_ended(error: Exception | None) -> None:
    async def end_early() -> None:
        if error is not None:
            raise error

    async def live() -> None:
        await asyncio.Event().wait()

    with pytest.raises(CompanionEnded, match="failing"):
        async with (
            running(live(), "outer"),
            running(end_early(), "failing"),
            running(live(), "inner"),
        ):
            await asyncio.Event().wait()
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # tests run in a task


async def test_exception_of_the_body_is_raised_unchanged() -> None:
    with pytest.raises(ZeroDivisionError):
        async with running(asyncio.Event().wait(), "companion"):
            raise ZeroDivisionError


async def test_cancellation_from_outside_is_raised_unchanged() -> None:
    started = asyncio.Event()

    async def wait_inside() -> None:
        async with running(asyncio.Event().wait(), "companion"):
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait_inside())
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
