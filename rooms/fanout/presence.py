"""Presence: which users have a room open, in any process.

Presence is a hint with a time to live: a process that dies does not renew its users, and they
expire. In rooms with more than LARGE_ROOM users present, changes are not announced.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Coroutine, Iterable
from functools import cache
from itertools import islice
from typing import Any, Final, Protocol
from uuid import UUID

from django.conf import settings

from rooms.fanout import publisher
from rooms.protocol import events
from rooms.protocol.events import encode
from rooms.redis_clients import async_client, best_effort

TTL_SECONDS: Final = 60
RENEW_SECONDS: Final = 20
GRACE_SECONDS: Final = 3
LARGE_ROOM: Final = 50
MAX_READ: Final = 100
REUSE_SECONDS: Final = 1.0
"""The users of a large room are read at most this often: their changes are not announced."""

Pair = tuple[UUID, UUID]
"""A room and a user."""


class Roster(Protocol):
    """The users who are present in each room."""

    async def put(self, present: Iterable[Pair]) -> None:
        """Mark users as present for another TTL_SECONDS."""

    async def change(self, changes: dict[Pair, bool]) -> Counter[UUID]:
        """Add or remove users; return about how many users are present in each of the rooms."""

    async def read(self, room_id: UUID) -> list[UUID]:
        """Return up to MAX_READ users who are present in a room, the newest first."""


class MemoryRoster:
    """The roster of the embedded profile: one process has all connections. Nothing expires."""

    def __init__(self) -> None:
        self._rooms: defaultdict[UUID, dict[UUID, None]] = defaultdict(dict)

    async def put(self, present: Iterable[Pair]) -> None:
        for room_id, user_id in present:
            self._rooms[room_id][user_id] = None

    async def change(self, changes: dict[Pair, bool]) -> Counter[UUID]:
        for (room_id, user_id), online in changes.items():
            self._rooms[room_id].pop(user_id, None)
            if online:
                self._rooms[room_id][user_id] = None
        counts = Counter({room_id: len(self._rooms[room_id]) for room_id, _ in changes})
        for room_id in counts:
            if not counts[room_id]:
                del self._rooms[room_id]
        return counts

    async def read(self, room_id: UUID) -> list[UUID]:
        return list(islice(reversed(self._rooms.get(room_id, {})), MAX_READ))


class RedisRoster:
    """One sorted set per room: its users by the time at which they expire.

    If Redis is not available, nothing is stored and every room reads as empty.
    """

    async def put(self, present: Iterable[Pair]) -> None:
        rooms: defaultdict[UUID, list[UUID]] = defaultdict(list)
        for room_id, user_id in present:
            rooms[room_id].append(user_id)

        async def write() -> None:
            until = time.time() + TTL_SECONDS
            async with async_client().pipeline(transaction=False) as pipe:
                for room_id, users in rooms.items():
                    # The expired users are removed by the next change: no reader returns them.
                    pipe.zadd(_key(room_id), {user_id.bytes: until for user_id in users})
                    pipe.expire(_key(room_id), TTL_SECONDS)
                await pipe.execute()

        await best_effort(write, None)

    async def change(self, changes: dict[Pair, bool]) -> Counter[UUID]:
        rooms = list(dict.fromkeys(room_id for room_id, _ in changes))

        async def write() -> Counter[UUID]:
            now = time.time()
            async with async_client().pipeline(transaction=False) as pipe:
                for room_id in rooms:
                    pipe.zremrangebyscore(_key(room_id), "-inf", now)
                for (room_id, user_id), online in changes.items():
                    if online:
                        pipe.zadd(_key(room_id), {user_id.bytes: now + TTL_SECONDS})
                    else:
                        pipe.zrem(_key(room_id), user_id.bytes)
                for room_id in rooms:
                    pipe.expire(_key(room_id), TTL_SECONDS)
                    pipe.zcard(_key(room_id))
                replies = await pipe.execute()
            counts = replies[-2 * len(rooms) + 1 :: 2]
            return Counter(dict(zip(rooms, counts, strict=True)))

        return await best_effort(write, Counter())

    async def read(self, room_id: UUID) -> list[UUID]:
        now = time.time()
        found: list[bytes] = await best_effort(
            lambda: async_client().zrevrangebyscore(
                _key(room_id), "+inf", now, start=0, num=MAX_READ
            ),
            [],
        )
        return [UUID(bytes=user) for user in found]


def _key(room_id: UUID) -> str:
    return f"maru:present:{room_id.hex}"


@cache
def roster() -> Roster:
    """Return the roster that all processes share."""
    return MemoryRoster() if settings.EMBEDDED else RedisRoster()


class Presence:
    """The users whom this process keeps present, and the announcements about them."""

    def __init__(self) -> None:
        self._open: Counter[tuple[UUID, UUID]] = Counter()  # subscriptions by room and user
        self._tasks: set[asyncio.Task[None]] = set()
        self._changes: dict[Pair, bool] = {}  # not announced yet
        self._is_announcing = False

    def enter(self, room_id: UUID, user_id: UUID) -> None:
        """Count a subscription of the user; announce the first one."""
        self._open[room_id, user_id] += 1
        if self._open[room_id, user_id] == 1:
            self._announce(room_id, user_id, online=True)

    def leave(self, room_id: UUID, user_id: UUID) -> None:
        """Subtract a subscription. After the last one the user has GRACE_SECONDS to reconnect."""
        self._open[room_id, user_id] -= 1
        if self._open[room_id, user_id] <= 0:
            del self._open[room_id, user_id]
            self._start(self._leave_later(room_id, user_id))

    def correct(self, room_id: UUID, user_id: UUID, *, online: bool) -> None:
        """Announce a user who is connected here again after an "offline" of another process."""
        if not online and (room_id, user_id) in self._open:
            self._announce(room_id, user_id, online=True)

    async def renew(self) -> None:
        """Mark all users of this process as present for another TTL_SECONDS."""
        if self._open:
            await roster().put(list(self._open))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _leave_later(self, room_id: UUID, user_id: UUID) -> None:
        await asyncio.sleep(GRACE_SECONDS)
        if (room_id, user_id) not in self._open:
            self._announce(room_id, user_id, online=False)

    def _announce(self, room_id: UUID, user_id: UUID, *, online: bool) -> None:
        """Announce a change, together with the changes that wait for an answer of the roster."""
        self._changes[room_id, user_id] = online
        if not self._is_announcing:
            self._is_announcing = True
            self._start(self._announce_all())

    async def _announce_all(self) -> None:
        try:
            while self._changes:
                changes, self._changes = self._changes, {}
                counts = await roster().change(changes)
                for (room_id, user_id), online in changes.items():
                    if counts[room_id] <= LARGE_ROOM:
                        frame = encode(events.Presence(room=room_id, user=user_id, online=online))
                        publisher.publish(
                            publisher.PresenceChanged(room_id, frame, user=user_id, online=online)
                        )
        finally:
            self._is_announcing = False


_recent: dict[UUID, tuple[float, list[UUID]]] = {}
"""The users of large rooms, and until when (monotonic) they are reused."""


async def present_users(room_id: UUID) -> list[UUID]:
    """Return up to MAX_READ users who are present in a room; none if Redis is not available."""
    until, users = _recent.get(room_id, (0.0, []))
    if time.monotonic() < until:
        return users
    users = await roster().read(room_id)
    if len(users) > LARGE_ROOM:
        now = time.monotonic()
        for expired in [room for room, (until, _) in _recent.items() if until <= now]:
            del _recent[expired]
        _recent[room_id] = (now + REUSE_SECONDS, users)
    return users
