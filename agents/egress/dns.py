"""Host names and the addresses behind them.

The system's resolver blocks, for as long as a name's own servers like, and nothing ends it. Runs
of all teams share a process, so here names are resolved in threads of their own, of which no team
takes many, and whoever waits gives up in time.
"""

import asyncio
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Final
from uuid import UUID

THREADS: Final = 32
OF_A_TEAM: Final = 4
"""So many names of one team are being resolved at once; runs that ask for the same one share it."""
SECONDS: Final = 5.0
KNOWN_SECONDS: Final = 10.0

Place = tuple[str, int]


class HostUnknown(Exception):
    """The name has no address, at least not now."""


def lookup(host: str, port: int) -> list[str]:
    """Resolve as a connection would, numbers such as 2130706433 and 0x7f.1 included."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise HostUnknown from error
    return [str(entry[4][0]) for entry in found]


class Names:
    """Resolves names without holding up a loop, and remembers for a moment what it has found."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="names")
        self._lock = Lock()
        self._asked: dict[Place, tuple[UUID, Future[list[str]]]] = {}
        self._known: dict[Place, tuple[float, list[str]]] = {}

    async def find(self, host: str, port: int, team: UUID) -> list[str]:
        """Like `lookup`, for a run of `team`; raises HostUnknown also where it takes too long."""
        place = (host, port)
        now = time.monotonic()
        with self._lock:
            self._known = {at: found for at, found in self._known.items() if found[0] > now}
            if place in self._known:
                return self._known[place][1]
            asked = self._ask(place, team)
        try:
            async with asyncio.timeout(SECONDS):
                # Others may be waiting for the same one, and a thread cannot be called back.
                return await asyncio.shield(asyncio.wrap_future(asked))
        except TimeoutError:
            raise HostUnknown from None

    def forget(self) -> None:
        """Resolve every name anew from here on."""
        with self._lock:
            self._known.clear()

    def _ask(self, place: Place, team: UUID) -> Future[list[str]]:
        if place in self._asked:
            return self._asked[place][1]
        if sum(whose == team for whose, _ in self._asked.values()) >= OF_A_TEAM:
            raise HostUnknown
        asked = self._threads.submit(self._resolve, place)
        self._asked[place] = team, asked
        return asked

    def _resolve(self, place: Place) -> list[str]:
        found: list[str] = []
        try:
            found = lookup(*place)
            return found
        finally:
            with self._lock:
                del self._asked[place]
                if found:
                    self._known[place] = time.monotonic() + KNOWN_SECONDS, found


names: Final = Names()
