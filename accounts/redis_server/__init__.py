"""Clients of the Redis server in the settings. Redis Sentinel may have to find it.

`settings.REDIS_SENTINEL` is None, or has the form in which channels-redis reads a host.
"""

from collections.abc import Sequence
from typing import Any, Final

import redis
import redis.asyncio as aioredis
from django.conf import settings
from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.sentinel import Sentinel

_SENTINEL_SECONDS: Final = 1.0
# The pools for Sentinel raise beyond their limit instead of waiting for a free connection.
_UNLIMITED: Final = 10_000


def sync_redis(**options: Any) -> Any:  # Any: redis-py's stubs declare str, but replies are bytes
    """Return a new client for threads; `options` are those of a redis-py connection."""
    sentinel = settings.REDIS_SENTINEL
    if sentinel is None:
        return redis.Redis.from_url(settings.REDIS_URL, **options)
    manager: Any = Sentinel(  # type: ignore[no-untyped-call]  # redis-py does not type it
        sentinel["sentinels"], sentinel_kwargs=_sentinel_options(sentinel)
    )
    return manager.master_for(sentinel["master_name"], **_master_options(sentinel, options))


def close(client: Any) -> None:
    """Close a client of `sync_redis`, with its connections to the sentinels."""
    client.close()
    for sentinel in _sentinels_of(client):
        sentinel.close()


async def aclose(client: Any) -> None:
    """Close a client of `async_redis`, with its connections to the sentinels."""
    await client.aclose()
    for sentinel in _sentinels_of(client):
        await sentinel.aclose()


def async_redis(pool_seconds: float, **options: Any) -> Any:  # Any: as above
    """Return a new client for the event loop; it waits `pool_seconds` for a free connection."""
    sentinel = settings.REDIS_SENTINEL
    if sentinel is None:
        # redis-py's default pool raises if all its connections are in use; this pool waits.
        pool = aioredis.BlockingConnectionPool.from_url(
            settings.REDIS_URL, timeout=pool_seconds, **options
        )
        return aioredis.Redis.from_pool(pool)
    manager: Any = AsyncSentinel(  # type: ignore[no-untyped-call]  # redis-py does not type it
        sentinel["sentinels"], sentinel_kwargs=_sentinel_options(sentinel)
    )
    return manager.master_for(sentinel["master_name"], **_master_options(sentinel, options))


class RedisServerCache(RedisCache):
    """Django's cache on the Redis server of the settings."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = _CacheClient


class _CacheClient(RedisCacheClient):
    def __init__(self, servers: Any, serializer: Any = None, **options: Any) -> None:
        super().__init__(servers, serializer)
        self._server = sync_redis(**options)

    def get_client(self, key: Any = None, *, write: bool = False) -> Any:
        return self._server


def _sentinels_of(client: Any) -> Sequence[Any]:
    manager = getattr(client.connection_pool, "sentinel_manager", None)
    return manager.sentinels if manager is not None else ()


def _sentinel_options(sentinel: dict[str, Any]) -> dict[str, Any]:
    limits = {"socket_timeout": _SENTINEL_SECONDS, "socket_connect_timeout": _SENTINEL_SECONDS}
    return {**sentinel["sentinel_kwargs"], **limits}


def _master_options(sentinel: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    names = {"sentinels", "master_name", "sentinel_kwargs"}
    own = {name: value for name, value in sentinel.items() if name not in names}
    return {**own, **options, "max_connections": _UNLIMITED}
