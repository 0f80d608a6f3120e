"""Metrics that are read from PostgreSQL and Redis at a scrape: availability, queue and use.

A scrape must neither wait for a store that does not answer nor load it: a read is reused for
CACHE_SECONDS, is waited for at most WAIT_SECONDS, and there is never more than one.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, Final, Generic, NamedTuple, TypeVar

import redis
import structlog
from django.conf import settings
from django.db import connection, transaction
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from accounts.redis_server import sync_redis
from rooms.runs import queue, workers

CACHE_SECONDS: Final = 5.0
WAIT_SECONDS: Final = 2.0
STATEMENT_MILLISECONDS: Final = 1_000

log = structlog.get_logger(__name__)

T = TypeVar("T")


class QueueState(NamedTuple):
    """The run queue and the workers of the installation."""

    queued: int
    oldest_seconds: float
    waiting: int
    workers: int


class RedisState(NamedTuple):
    """Memory of Redis in bytes; None if its user may not execute INFO."""

    used: int | None
    limit: int | None


class CachedRead(Generic[T]):
    """A blocking read in a thread of its own. Any thread may call the methods.

    The thread is a daemon: a store that does not answer must not delay the end of the process.
    """

    def __init__(self, name: str, read: Callable[[], T]) -> None:
        self._name = name
        self._read = read
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._read_at = float("-inf")
        self._value: T | None = None

    def start(self) -> None:
        """Start a read, unless one is running or the last one is recent."""
        with self._lock:
            is_running = self._thread is not None and self._thread.is_alive()
            if is_running or time.monotonic() - self._read_at < CACHE_SECONDS:
                return
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def result(self) -> T | None:
        """Return the value of the last read; None if it has failed or takes too long."""
        assert self._thread is not None, "`start` was called before"
        self._thread.join(WAIT_SECONDS)
        return None if self._thread.is_alive() else self._value

    def _run(self) -> None:
        try:
            self._value = self._read()
        except Exception as error:  # of any kind: the other metrics must still be exported
            self._value = None
            log.warning("scrape.store_away", store=self._name, error=type(error).__name__)
        self._read_at = time.monotonic()


class StoreCollector(Collector):
    """Exports the state of the database and, outside the embedded profile, of Redis."""

    def __init__(self) -> None:
        self._queue = CachedRead("database", read_queue)
        self._redis = CachedRead("redis", read_redis)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics. Without an answer of a store, only `…_up` is known: it is 0."""
        self._queue.start()
        if not settings.EMBEDDED:
            self._redis.start()
        yield from _of_queue(self._queue.result())
        if not settings.EMBEDDED:
            yield from _of_pool()
            yield from _of_redis(self._redis.result())

    def describe(self) -> Iterator[Metric]:
        """Yield every metric without samples: registering must not read the stores."""
        yield from _of_queue(QueueState(0, 0, 0, 0))
        yield from _of_stats({})
        yield from _of_redis(RedisState(0, 0))


def read_queue() -> QueueState:
    """Read the queue with at most STATEMENT_MILLISECONDS per statement; raise DatabaseError."""
    is_postgresql = connection.vendor == "postgresql"
    try:
        # Not on SQLite: there a transaction would take the lock of the database.
        with transaction.atomic() if is_postgresql else nullcontext():
            if is_postgresql:
                with connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL statement_timeout = {STATEMENT_MILLISECONDS}")
            queued, oldest_seconds = queue.backlog()
            waiting = queue.count_waiting()
            alive = workers.count_alive()
    finally:
        connection.close()
    return QueueState(queued, oldest_seconds, waiting, alive)


def read_redis() -> RedisState:
    """Send PING and INFO to Redis; raise RedisError if it does not answer."""
    limits = {"socket_timeout": WAIT_SECONDS, "socket_connect_timeout": WAIT_SECONDS}
    with sync_redis(**limits) as client:
        client.ping()
        try:
            memory: Any = client.info("memory")  # Any: the stubs also allow an awaitable
        except redis.ResponseError:  # an ACL may forbid INFO
            return RedisState(None, None)
    return RedisState(memory["used_memory"], memory["maxmemory"])


def _gauge(name: str, description: str, value: float | None) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, description, value=value)


def _of_queue(state: QueueState | None) -> Iterator[Metric]:
    up = "1 if this process can query the database, else 0"
    yield _gauge("maru_database_up", up, state is not None)
    if state is not None:
        yield _gauge("maru_runs_queued", "Queued runs of the installation", state.queued)
        age = "Age of the oldest queued run of the installation; 0 if there is none"
        yield _gauge("maru_runs_queued_oldest_seconds", age, state.oldest_seconds)
        waiting = "Runs that wait for people or for other runs; counted up to 10,000"
        yield _gauge("maru_runs_waiting", waiting, state.waiting)
        yield _gauge("maru_workers_alive", "Workers that have reported lately", state.workers)


def _of_pool() -> Iterator[Metric]:
    pool: Any = connection.pool  # type: ignore[attr-defined]  # only the PostgreSQL back end has it
    yield from _of_stats(pool.get_stats())


def _of_stats(stats: dict[str, int]) -> Iterator[Metric]:
    size, idle = stats.get("pool_size", 0), stats.get("pool_available", 0)
    used = "Connections of this process's pool that are in use"
    yield _gauge("maru_database_connections_used", used, size - idle)
    limit = "Largest number of connections of this process's pool"
    yield _gauge("maru_database_connections_limit", limit, stats.get("pool_max", 0))
    waiting = "Requests that wait for a connection of the pool"
    yield _gauge("maru_database_requests_waiting", waiting, stats.get("requests_waiting", 0))
    yield CounterMetricFamily(
        "maru_database_requests_failed",
        "Requests that got no connection from the pool in time",
        value=stats.get("requests_errors", 0),
    )


def _of_redis(state: RedisState | None) -> Iterator[Metric]:
    yield _gauge("maru_redis_up", "1 if Redis answers this process, else 0", state is not None)
    if state is not None and state.used is not None and state.limit is not None:
        yield _gauge("maru_redis_memory_bytes", "Memory that Redis uses for data", state.used)
        limit = "Memory that Redis may use for data; 0 is unlimited"
        yield _gauge("maru_redis_memory_limit_bytes", limit, state.limit)
