"""Reads of rooms that all clients share which join a room at the same seq.

A thousand clients that join at once cause one read of the room, not a thousand.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from math import inf
from typing import Final
from uuid import UUID

from msgspec import Struct

from rooms.fanout.publisher import LogEntry

MAX_BYTES: Final = 8 * 2**20


class OpenAnswer(Struct, frozen=True):
    """An answer whose run has started and not ended.

    A waiting answer has no deltas: its text is in the message, and the next attempt starts over.
    """

    run: UUID
    message: UUID
    attempt: int
    waiting: bool = False


class RoomRead(Struct, frozen=True, kw_only=True):
    """A room as read from the database, either its state or the end of its log.

    The read contains all changes up to `seq`. It may contain changes that were made during the
    read, the last of them at `until`.
    """

    seq: int
    until: int
    open_answers: tuple[OpenAnswer, ...]
    state: bytes = b""
    """The encoded state without permissions: see `rooms.socket.snapshots.complete_state`."""
    oldest: int = 0
    """The seq of the first message in the state."""
    events: tuple[LogEntry, ...] = ()
    wanted: int = 0
    """The seq after which events were requested; all of them up to `seq` may be too many."""
    reusable_until: float = inf
    """The time (monotonic) after which a new read is made although the seq is the same."""

    def events_after(self, after: int) -> tuple[LogEntry, ...] | None:
        """Return the events after `after`, or None if the read does not contain all of them."""
        first = len(self.events) - (self.seq - after)
        return None if first < 0 else self.events[first:]

    @property
    def size(self) -> int:
        return len(self.state) + sum(len(event.frame) for event in self.events)


class SharedReads:
    """The newest read of each room, and the reads that are being made. Runs on the event loop.

    The reads that are kept have MAX_BYTES together; the read that was used longest ago is dropped
    first.
    """

    def __init__(self, read: Callable[[UUID, int], Awaitable[RoomRead]]) -> None:
        """`read(room_id, after)` reads a room; for a log, the events after `after`."""
        self._read = read
        self._kept: OrderedDict[UUID, RoomRead] = OrderedDict()
        self._size = 0
        self._running: dict[UUID, asyncio.Task[RoomRead]] = {}
        self._wanted: dict[UUID, int] = {}

    async def get(self, room_id: UUID, seq: int, after: int = 0) -> RoomRead:
        """Return a read that contains all changes up to `seq`, which is the room's seq.

        For a log: that was requested for the events after `after`, or for more events. Raises the
        error of the read.
        """
        kept = self._kept.get(room_id)
        if kept is not None and kept.seq == seq and _serves(kept, seq, after):
            self._kept.move_to_end(room_id)
            return kept
        self._wanted[room_id] = min(after, self._wanted.get(room_id, after))
        while True:
            running = self._running.get(room_id) or self._start(room_id, after)
            # Shielded: the others still wait for the read if this client disconnects.
            read = await asyncio.shield(running)
            # A read that began before this call may lack the latest changes; the next has them.
            if _serves(read, seq, after):
                return read

    def _start(self, room_id: UUID, after: int) -> asyncio.Task[RoomRead]:
        wanted = min(after, self._wanted.pop(room_id, after))
        task = asyncio.create_task(self._read_and_keep(room_id, wanted))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._running[room_id] = task
        return task

    async def _read_and_keep(self, room_id: UUID, wanted: int) -> RoomRead:
        try:
            read = await self._read(room_id, wanted)
        finally:
            del self._running[room_id]
        self._drop(room_id)
        if read.size <= MAX_BYTES:
            self._kept[room_id] = read
            self._size += read.size
        while self._size > MAX_BYTES:
            self._drop(next(iter(self._kept)))
        return read

    def _drop(self, room_id: UUID) -> None:
        dropped = self._kept.pop(room_id, None)
        if dropped is not None:
            self._size -= dropped.size


def _serves(read: RoomRead, seq: int, after: int) -> bool:
    is_fresh = time.monotonic() < read.reusable_until
    return read.seq >= seq and read.wanted <= after and is_fresh
