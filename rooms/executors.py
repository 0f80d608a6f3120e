"""The way from the loop to the database: one crossing for each piece of work."""

import asyncio
import select
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Final, ParamSpec, TypeVar

from django.conf import settings
from django.db import connection

P = ParamSpec("P")
R = TypeVar("R")

# Threads of their own: a slow page must not hold up a command, nor a command a run.
COMMANDS: Final = ThreadPoolExecutor(max_workers=8, thread_name_prefix="command")
RUNS: Final = ThreadPoolExecutor(max_workers=4, thread_name_prefix="run")
# Commands wait for rooms that others have locked; who comes in, and what was missed, must not.
CHECKS: Final = ThreadPoolExecutor(max_workers=2, thread_name_prefix="check")
# Whoever renews leases waits for nobody: threads of runs may all be waiting for locked rooms.
HEARTBEATS: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="beat")

IDLE_SECONDS: Final = 60.0
"""A connection that has rested for so long is asked whether it is still there."""


class _Used(threading.local):
    """When this thread's connection was used last."""

    at = 0.0


_used = _Used()


async def in_thread(
    pool: ThreadPoolExecutor, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> R:
    """Run `function`, which may use the ORM, in a thread of `pool`, and return its result.

    A thread keeps its connection to the database: to take one from a pool and to have it answer
    before each piece of work costs more than most of the work.
    """
    context = copy_context()

    def work() -> R:
        _close_if_broken()
        try:
            return context.run(function, *args, **kwargs)
        finally:
            _used.at = time.monotonic()

    return await asyncio.get_running_loop().run_in_executor(pool, work)


def _close_if_broken() -> None:
    """Leave a connection that is good as it is; the next statement makes another one if need be.

    Only one that gives reason to doubt it is asked: it has failed or rested, or the other end has
    said something unasked, which is how a PostgreSQL that ends says so.
    """
    if settings.EMBEDDED or connection.connection is None:
        return
    rested = time.monotonic() - _used.at > IDLE_SECONDS
    if not (connection.errors_occurred or rested or _has_unread_data(connection.connection)):
        return
    if connection.is_usable():
        connection.errors_occurred = False
    else:
        connection.close()


def _has_unread_data(postgres: Any) -> bool:  # Any: Django's type of connections is any driver's
    if postgres.closed:
        return True
    poll = select.poll()
    poll.register(postgres.fileno(), select.POLLIN)
    return bool(poll.poll(0))
