"""What should live as long as a process: while it does, and when it ends before."""

import asyncio

import pytest

from maru.server.lifespan import CompanionEnded, running


async def test_a_companion_is_ended_when_the_context_is_left() -> None:
    ended = asyncio.Event()

    async def live() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with running(live(), "companion"):
        await asyncio.sleep(0)

    assert ended.is_set()


@pytest.mark.parametrize("error", [None, ZeroDivisionError()])
async def test_a_companion_that_ends_ends_what_it_accompanies(error: Exception | None) -> None:
    async def die() -> None:
        if error is not None:
            raise error

    async def live() -> None:
        await asyncio.Event().wait()

    with pytest.raises(CompanionEnded, match="mortal"):
        async with running(live(), "outer"), running(die(), "mortal"), running(live(), "inner"):
            await asyncio.Event().wait()
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]  # there is one


async def test_what_fails_by_itself_fails_as_it_would_alone() -> None:
    with pytest.raises(ZeroDivisionError):
        async with running(asyncio.Event().wait(), "companion"):
            raise ZeroDivisionError


async def test_whoever_is_cancelled_is_cancelled() -> None:
    begun = asyncio.Event()

    async def accompanied() -> None:
        async with running(asyncio.Event().wait(), "companion"):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(accompanied())
    await begun.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
