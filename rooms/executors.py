"""Thread pools for functions that use the ORM; the event loop calls them with `in_thread`."""

import asyncio
import select
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Final, ParamSpec, TypeVar

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection

from accounts.errors import is_outage

log = structlog.get_logger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

# Separate pools, because a slow command must not delay a run, and a run must not delay a command.
COMMANDS: Final = ThreadPoolExecutor(max_workers=8, thread_name_prefix="command")
RUNS: Final = ThreadPoolExecutor(max_workers=4, thread_name_prefix="run")
# A tool may read thousands of messages. What stores and ends the runs must not wait for it.
READS: Final = ThreadPoolExecutor(max_workers=2, thread_name_prefix="read")
# Commands may wait for locked rooms. Authentication and the hub's checks must not wait with them.
CHECKS: Final = ThreadPoolExecutor(max_workers=2, thread_name_prefix="check")
# All threads of runs may wait for locked rooms. The renewal of leases must not wait with them.
HEARTBEATS: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="beat")

RETRY_SECONDS: Final = 1.0
IDLE_SECONDS: Final = 60.0
"""Seconds; a database connection that was idle for longer is checked before it is used."""


class _LastUse(threading.local):
    """The time at which this thread's database connection was last used."""

    at = 0.0


_last_use = _LastUse()


async def in_thread(
    pool: ThreadPoolExecutor, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> R:
    """Run `function`, which may use the ORM, in a thread of `pool`, and return its result.

    A thread keeps its database connection. Taking a connection from a pool and checking it for each
    call would cost more than most calls.
    """
    context = copy_context()

    def work() -> R:
        _close_if_broken()
        try:
            return context.run(function, *args, **kwargs)
        finally:
            _last_use.at = time.monotonic()

    return await asyncio.get_running_loop().run_in_executor(pool, work)


async def in_thread_until_stored(
    pool: ThreadPoolExecutor, store: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> R:
    """Like `in_thread`; while the database is unavailable, retry: what is stored may not be lost.

    Other database errors are raised, because a retry would fail in the same way.
    """
    while True:
        try:
            return await in_thread(pool, store, *args, **kwargs)
        except DatabaseError as error:
            if not is_outage(error):
                raise
            log_database_error(error)
            await asyncio.sleep(RETRY_SECONDS)


def log_database_error(error: Exception) -> None:
    """Log an error of the database, with its trace unless the database is unavailable."""
    trace = not is_outage(error)
    log.warning("runner.database_away", error=type(error).__name__, exc_info=trace)


def _close_if_broken() -> None:
    """Close this thread's database connection if it is unusable; Django then opens a new one.

    The check is a query, so it is made only if there is a reason: an earlier error, a long idle
    time, or unread data. PostgreSQL sends data without a request when it shuts down.
    """
    if settings.EMBEDDED or connection.connection is None:
        return
    idle = time.monotonic() - _last_use.at > IDLE_SECONDS
    if not (connection.errors_occurred or idle or _has_unread_data(connection.connection)):
        return
    if connection.is_usable():
        connection.errors_occurred = False
    else:
        connection.close()


def _has_unread_data(postgres: Any) -> bool:  # Any: Django does not type the driver's connection
    if postgres.closed:
        return True
    poll = select.poll()
    poll.register(postgres.fileno(), select.POLLIN)
    return bool(poll.poll(0))
