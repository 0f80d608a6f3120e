"""Runs functions that use the ORM outside the event loop, for the sessions of runs."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from accounts.database import release_connection

P = ParamSpec("P")
R = TypeVar("R")

_POOL: Final = ThreadPoolExecutor(max_workers=2, thread_name_prefix="mcp")
_SLOW: Final = ThreadPoolExecutor(max_workers=16, thread_name_prefix="mcp-refresh")
"""For functions that send a request. A cancellation does not end a function that has begun, nor
does the end of the event loop: the process waits for these threads when it exits."""


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return the result of `function`, which runs in a thread and gives its connection back."""
    return await _in_pool(_POOL, function, *args, **kwargs)


async def in_slow_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Like `in_thread`, for a function that takes seconds and must end once it has begun."""
    return await _in_pool(_SLOW, function, *args, **kwargs)


async def _in_pool(
    pool: ThreadPoolExecutor, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> R:
    def work() -> R:
        try:
            return function(*args, **kwargs)
        finally:
            release_connection()

    return await asyncio.get_running_loop().run_in_executor(pool, work)
