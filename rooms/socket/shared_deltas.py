"""Reads of the delta store that joining clients share: one at a time for each answer."""

import asyncio
from dataclasses import dataclass
from uuid import UUID
from weakref import WeakValueDictionary

from rooms.runs.delta_store import StoredDeltas, delta_store

_Attempt = tuple[UUID, int]


@dataclass(slots=True)
class _Read:
    """A read that has not begun yet, or its result."""

    since: int
    is_done: bool = False
    stored: StoredDeltas | None = None


class SharedDeltas:
    """Reads the deltas of unfinished answers for all clients that wait for them.

    A call waits for a read that begins after the call: an earlier read may lack deltas that were
    published before the client subscribed. Runs on the event loop.
    """

    def __init__(self) -> None:
        self._next: dict[_Attempt, _Read] = {}
        self._locks: WeakValueDictionary[_Attempt, asyncio.Lock] = WeakValueDictionary()

    async def read(self, message: UUID, attempt: int, since: int = 0) -> StoredDeltas | None:
        """Like `DeltaStore.read`."""
        key = (message, attempt)
        read = self._next.setdefault(key, _Read(since))
        read.since = min(read.since, since)
        async with self._locks.setdefault(key, asyncio.Lock()):
            if not read.is_done:
                if self._next.get(key) is read:  # not if the client that began it has disconnected
                    del self._next[key]
                read.stored = await delta_store().read(message, attempt, read.since)
                read.is_done = True
        if read.stored is None:
            return None
        skipped = since - read.since
        if skipped and skipped >= len(read.stored.deltas):  # perhaps only earlier deltas are lost
            return await delta_store().read(message, attempt, since)
        return StoredDeltas(attempt, since, read.stored.deltas[skipped:])


shared_deltas = SharedDeltas()
