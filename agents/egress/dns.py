"""Resolves host names without blocking the event loop.

`getaddrinfo` blocks until the name servers of the host answer, and cannot be cancelled. Runs of all
teams share one process, so names are resolved in dedicated threads. The number of concurrent
lookups of each team is limited, and a caller stops waiting after TIMEOUT_SECONDS.
"""

import asyncio
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Final
from uuid import UUID

MAX_THREADS: Final = 32
MAX_PENDING_PER_TEAM: Final = 4
"""Concurrent lookups of one team. Runs that need the same host and port share one lookup."""
TIMEOUT_SECONDS: Final = 5.0
CACHE_SECONDS: Final = 10.0

Endpoint = tuple[str, int]


class HostUnknown(Exception):
    """The name has no address, or it could not be resolved in time."""


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host, or raise HostUnknown. Blocking; call it from a thread.

    Accepts every notation that a connection accepts, for example 2130706433 and 0x7f.1.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise HostUnknown from error
    return [str(entry[4][0]) for entry in found]


class Resolver:
    """Resolves names in threads and caches the addresses for CACHE_SECONDS."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="dns")
        self._lock = Lock()  # protects both dicts, which the threads change
        self._pending: dict[Endpoint, tuple[UUID, Future[list[str]]]] = {}
        self._cache: dict[Endpoint, tuple[float, list[str]]] = {}

    async def resolve(self, host: str, port: int, team: UUID) -> list[str]:
        """Like the function `resolve`, for a run of `team`, without blocking the event loop.

        Also raises HostUnknown after TIMEOUT_SECONDS, and while MAX_PENDING_PER_TEAM other names
        of the team are being resolved.
        """
        endpoint = (host, port)
        now = time.monotonic()
        with self._lock:
            self._cache = {key: entry for key, entry in self._cache.items() if entry[0] > now}
            if endpoint in self._cache:
                return self._cache[endpoint][1]
            lookup = self._start_lookup(endpoint, team)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                # Shielded, because other runs may wait for the same lookup.
                return await asyncio.shield(asyncio.wrap_future(lookup))
        except TimeoutError:
            raise HostUnknown from None

    def clear_cache(self) -> None:
        """Delete all cached addresses."""
        with self._lock:
            self._cache.clear()

    def _start_lookup(self, endpoint: Endpoint, team: UUID) -> Future[list[str]]:
        if endpoint in self._pending:
            return self._pending[endpoint][1]
        if sum(other == team for other, _ in self._pending.values()) >= MAX_PENDING_PER_TEAM:
            raise HostUnknown
        lookup = self._threads.submit(self._look_up, endpoint)
        self._pending[endpoint] = team, lookup
        return lookup

    def _look_up(self, endpoint: Endpoint) -> list[str]:
        """Runs in a thread."""
        addresses: list[str] = []
        try:
            addresses = resolve(*endpoint)
            return addresses
        finally:
            with self._lock:
                del self._pending[endpoint]
                if addresses:
                    self._cache[endpoint] = time.monotonic() + CACHE_SECONDS, addresses


resolver: Final = Resolver()
