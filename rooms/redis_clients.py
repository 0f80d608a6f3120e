"""Redis clients for data that may be lost: deltas and presence.

Requests have short timeouts. After a failure all requests are skipped for PAUSE_SECONDS. The
channel layer has connections of its own (`rooms.fanout.redis_layer`).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, Final, TypeVar

import redis
import structlog
from django.conf import settings
from redis import retry
from redis.asyncio import retry as async_retry
from redis.backoff import NoBackoff

from accounts.redis_server import async_redis, sync_redis

log = structlog.get_logger(__name__)

PAUSE_SECONDS: Final = 1.0
THREAD_SECONDS: Final = 1.0
POOL_SECONDS: Final = 5

# A Redis restart breaks every pooled connection, and each of them fails once. One retry on a new
# connection shows whether Redis is available.
_BROKEN: Final = (redis.ConnectionError,)

FAILURES: Final = (redis.RedisError, OSError)

T = TypeVar("T")
_backoff_until = 0.0


@cache
def async_client() -> Any:  # Any: redis-py's stubs declare str, but replies are bytes
    """Return the client of this process's event loop."""
    retries = async_retry.Retry(NoBackoff(), 1, _BROKEN)
    return async_redis(POOL_SECONDS, retry=retries, **settings.REDIS_OPTIONS)


@cache
def sync_client() -> Any:  # Any: as above
    """Return the client for threads. Callers may hold the lock on a room, so timeouts are short."""
    timeouts = {"socket_timeout": THREAD_SECONDS, "socket_connect_timeout": THREAD_SECONDS}
    retries = retry.Retry(NoBackoff(), 1, _BROKEN)
    return sync_redis(retry=retries, **(settings.REDIS_OPTIONS | timeouts))


async def best_effort(request: Callable[[], Awaitable[T]], default: T) -> T:
    """Return the result of a request to Redis, or `default` if it fails or is skipped.

    The stream of an answer must not wait for its deltas to be stored.
    """
    if is_backed_off():
        return default
    task = asyncio.current_task()
    assert task is not None
    cancellations = task.cancelling()
    try:
        result = await request()
    except FAILURES as error:
        back_off(error)
        result = default
    if task.cancelling() > cancellations:
        # redis-py writes under `asyncio.wait_for`, which before Python 3.12 can lose a cancellation
        # (https://github.com/python/cpython/issues/86296). A stopped answer would go on.
        raise asyncio.CancelledError
    return result


def best_effort_sync(request: Callable[[], T], default: T) -> T:
    """Blocking form of `best_effort`; call it from a worker thread."""
    if is_backed_off():
        return default
    try:
        return request()
    except FAILURES as error:
        back_off(error)
        return default


def is_backed_off() -> bool:
    """Return True for PAUSE_SECONDS after a failure."""
    return time.monotonic() < _backoff_until


def back_off(error: Exception) -> None:
    """Skip all requests for PAUSE_SECONDS.

    An error reply (OOM, LOADING, READONLY) would be the same for every caller.
    """
    global _backoff_until
    _backoff_until = time.monotonic() + PAUSE_SECONDS
    refused = isinstance(error, redis.ResponseError)
    log.warning("redis.refused" if refused else "redis.away", error=type(error).__name__)
