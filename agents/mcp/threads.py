"""Runs functions that use the ORM outside the event loop, for the sessions of runs."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from accounts.database import release_connection

P = ParamSpec("P")
R = TypeVar("R")

_POOL: Final = ThreadPoolExecutor(max_workers=2, thread_name_prefix="mcp")


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return the result of `function`, which runs in a thread and gives its connection back."""

    def work() -> R:
        try:
            return function(*args, **kwargs)
        finally:
            release_connection()

    return await asyncio.get_running_loop().run_in_executor(_POOL, work)
