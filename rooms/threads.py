"""The way from the loop to the database: one crossing for each piece of work."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Final, ParamSpec, TypeVar

from django.conf import settings
from django.db import close_old_connections

P = ParamSpec("P")
R = TypeVar("R")

# Threads of their own: a slow page must not hold up a command, nor a command a run.
COMMANDS: Final = ThreadPoolExecutor(max_workers=8, thread_name_prefix="command")
RUNS: Final = ThreadPoolExecutor(max_workers=4, thread_name_prefix="run")


async def in_thread(
    pool: ThreadPoolExecutor, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> R:
    """Run `function`, which may use the ORM, in a thread of `pool`, and return its result."""
    context = copy_context()

    def work() -> R:
        # These threads stay, and a file does not go away: what SQLite has cached is worth keeping.
        if settings.EMBEDDED:
            return context.run(function, *args, **kwargs)
        close_old_connections()
        try:
            return context.run(function, *args, **kwargs)
        finally:
            close_old_connections()

    return await asyncio.get_running_loop().run_in_executor(pool, work)
