"""Presence: which users have a room open, in any process.

Presence is a hint with a time to live: a process that dies does not renew its users, and they
expire. In rooms with more than LARGE_ROOM users present, changes are not announced.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Coroutine, Iterable
from functools import cache
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


class Roster(Protocol):
    """The users who are present in each room."""

    async def put(self, present: Iterable[tuple[UUID, UUID]]) -> None:
        """Mark (room, user) pairs as present for another TTL_SECONDS."""

    async def drop(self, room_id: UUID, user_id: UUID) -> None:
        """Remove a user from a room."""

    async def read(self, room_id: UUID) -> list[UUID]:
        """Return the users who are present in a room."""

    async def count(self, room_id: UUID) -> int:
        """Return the approximate number of users who are present in a room."""


class MemoryRoster:
    """The roster of the embedded profile: one process has all connections. Nothing expires."""

    def __init__(self) -> None:
        self._rooms: defaultdict[UUID, dict[UUID, None]] = defaultdict(dict)

    async def put(self, present: Iterable[tuple[UUID, UUID]]) -> None:
        for room_id, user_id in present:
            self._rooms[room_id][user_id] = None

    async def drop(self, room_id: UUID, user_id: UUID) -> None:
        self._rooms[room_id].pop(user_id, None)
        if not self._rooms[room_id]:
            del self._rooms[room_id]

    async def read(self, room_id: UUID) -> list[UUID]:
        return list(self._rooms.get(room_id, ()))

    async def count(self, room_id: UUID) -> int:
        return len(self._rooms.get(room_id, ()))


class RedisRoster:
    """One sorted set per room: its users by the time at which they expire.

    If Redis is not available, nothing is stored and every room reads as empty.
    """

    async def put(self, present: Iterable[tuple[UUID, UUID]]) -> None:
        rooms: defaultdict[UUID, list[UUID]] = defaultdict(list)
        for room_id, user_id in present:
            rooms[room_id].append(user_id)

        async def write() -> None:
            until = time.time() + TTL_SECONDS
            async with async_client().pipeline(transaction=False) as pipe:
                for room_id, users in rooms.items():
                    pipe.zremrangebyscore(_key(room_id), "-inf", time.time())
                    pipe.zadd(_key(room_id), {user_id.bytes: until for user_id in users})
                    pipe.expire(_key(room_id), TTL_SECONDS)
                await pipe.execute()

        await best_effort(write, None)

    async def drop(self, room_id: UUID, user_id: UUID) -> None:
        await best_effort(lambda: async_client().zrem(_key(room_id), user_id.bytes), None)

    async def read(self, room_id: UUID) -> list[UUID]:
        now = time.time()
        found: list[bytes] = await best_effort(
            lambda: async_client().zrangebyscore(_key(room_id), now, "+inf"), []
        )
        return [UUID(bytes=user) for user in found]

    async def count(self, room_id: UUID) -> int:
        return int(
            await best_effort(lambda: async_client().zcount(_key(room_id), time.time(), "+inf"), 0)
        )


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

    async def enter(self, room_id: UUID, user_id: UUID) -> None:
        """Count a subscription of the user; announce the first one."""
        self._open[room_id, user_id] += 1
        if self._open[room_id, user_id] == 1:
            await self._announce(room_id, user_id, online=True)

    def leave(self, room_id: UUID, user_id: UUID) -> None:
        """Subtract a subscription. After the last one the user has GRACE_SECONDS to reconnect."""
        self._open[room_id, user_id] -= 1
        if self._open[room_id, user_id] <= 0:
            del self._open[room_id, user_id]
            self._start(self._leave_later(room_id, user_id))

    def correct(self, room_id: UUID, user_id: UUID, *, online: bool) -> None:
        """Announce a user who is connected here again after an "offline" of another process."""
        if not online and (room_id, user_id) in self._open:
            self._start(self._announce(room_id, user_id, online=True))

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
            await self._announce(room_id, user_id, online=False)

    async def _announce(self, room_id: UUID, user_id: UUID, *, online: bool) -> None:
        if online:
            await roster().put([(room_id, user_id)])
        else:
            await roster().drop(room_id, user_id)
        if await roster().count(room_id) > LARGE_ROOM:
            return
        frame = encode(events.Presence(room=room_id, user=user_id, online=online))
        publisher.publish(publisher.PresenceChanged(room_id, frame, user=user_id, online=online))


async def present_users(room_id: UUID) -> list[UUID]:
    """Return the users who are present in a room; none if Redis is not available."""
    return await roster().read(room_id)
