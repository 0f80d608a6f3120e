"""Redis as a place for what may be lost: quick to give up, and left alone for a while after.

Fan-out has connections of its own (the channel layer); here are deltas, and who is here.
"""

import time
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, Final, TypeVar

import redis
import redis.asyncio as aioredis
import structlog
from django.conf import settings
from redis import retry
from redis.asyncio import retry as async_retry
from redis.backoff import NoBackoff

log = structlog.get_logger(__name__)

PAUSE_SECONDS: Final = 1.0
THREAD_SECONDS: Final = 1.0
POOL_SECONDS: Final = 5

# A Redis that was restarted has broken every connection that waits in a pool: each of them fails
# once. Asked again at once, it is known whether Redis is away.
_BROKEN: Final = (redis.ConnectionError,)

FAILURES: Final = (redis.RedisError, OSError)

T = TypeVar("T")
_backoff_until = 0.0


@cache
def async_client() -> Any:  # Any: the stubs of redis-py do not know that answers stay bytes
    """Return the client of this process's loop."""
    # A pool of redis-py raises once all its connections are taken; this one has us wait.
    pool = aioredis.BlockingConnectionPool.from_url(
        settings.REDIS_URL,
        timeout=POOL_SECONDS,
        retry=async_retry.Retry(NoBackoff(), 1, _BROKEN),
        **settings.REDIS_OPTIONS,
    )
    return aioredis.Redis.from_pool(pool)


@cache
def sync_client() -> Any:
    """Return the client for threads: they hold a room meanwhile, so it gives up sooner."""
    limits = {"socket_timeout": THREAD_SECONDS, "socket_connect_timeout": THREAD_SECONDS}
    return redis.Redis.from_url(
        settings.REDIS_URL,
        retry=retry.Retry(NoBackoff(), 1, _BROKEN),
        **(settings.REDIS_OPTIONS | limits),
    )


async def best_effort(ask: Callable[[], Awaitable[T]], default: T) -> T:
    """Return what Redis answers, or `default` where it does not.

    An answer must not wait for its deltas to be kept: once Redis has failed, it is not asked for
    a second.
    """
    if _is_left_alone():
        return default
    try:
        return await ask()
    except FAILURES as error:
        _leave_alone(error)
        return default


def best_effort_sync(ask: Callable[[], T], default: T) -> T:
    """The same for threads, who must not hold a room while Redis is away."""
    if _is_left_alone():
        return default
    try:
        return ask()
    except FAILURES as error:
        _leave_alone(error)
        return default


def _is_left_alone() -> bool:
    return time.monotonic() < _backoff_until


def _leave_alone(error: Exception) -> None:
    """One that says no does so to all: it is full, loading, or takes in nothing just now."""
    global _backoff_until
    _backoff_until = time.monotonic() + PAUSE_SECONDS
    refused = isinstance(error, redis.ResponseError)
    log.warning("redis.refused" if refused else "redis.away", error=type(error).__name__)
