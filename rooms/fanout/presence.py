"""Who is here: which members have a room open, on any process.

A hint, kept with an end: what is not renewed is forgotten, so a process that dies leaves nobody
behind. In a crowd nobody watches dots: beyond `LARGE_ROOM` nothing is sent around any more.
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
from rooms.redis_store import async_client, best_effort

KEPT_SECONDS: Final = 60
RENEWED_SECONDS: Final = 20
GRACE_SECONDS: Final = 3
LARGE_ROOM: Final = 50


class Roster(Protocol):
    async def put(self, present: Iterable[tuple[UUID, UUID]]) -> None:
        """Keep room and user pairs as present for another while."""

    async def drop(self, room_id: UUID, user_id: UUID) -> None:
        """Take a user out of a room."""

    async def read(self, room_id: UUID) -> list[UUID]:
        """Return who is in a room."""

    async def count(self, room_id: UUID) -> int:
        """Return how many are in a room, roughly."""


class MemoryRoster:
    """For the embedded profile: one process, whose sockets are all there are."""

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
    """A sorted set for each room: users by the time at which they are forgotten."""

    async def put(self, present: Iterable[tuple[UUID, UUID]]) -> None:
        rooms: defaultdict[UUID, list[UUID]] = defaultdict(list)
        for room_id, user_id in present:
            rooms[room_id].append(user_id)

        async def keep() -> None:
            until = time.time() + KEPT_SECONDS
            async with async_client().pipeline(transaction=False) as pipe:
                for room_id, users in rooms.items():
                    pipe.zremrangebyscore(_key(room_id), "-inf", time.time())
                    pipe.zadd(_key(room_id), {user_id.bytes: until for user_id in users})
                    pipe.expire(_key(room_id), KEPT_SECONDS)
                await pipe.execute()

        await best_effort(keep, None)

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
    """Return the roster that this process shares with the others."""
    return MemoryRoster() if settings.EMBEDDED else RedisRoster()


class Presence:
    """Whom this process keeps present, and when it tells the room so."""

    def __init__(self) -> None:
        self._open: Counter[tuple[UUID, UUID]] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def enter(self, room_id: UUID, user_id: UUID) -> None:
        """A socket of the user has the room open."""
        self._open[room_id, user_id] += 1
        if self._open[room_id, user_id] == 1:
            await self._tell(room_id, user_id, online=True)

    def leave(self, room_id: UUID, user_id: UUID) -> None:
        """A socket of the user has it open no more; whoever comes back soon was never away."""
        self._open[room_id, user_id] -= 1
        if self._open[room_id, user_id] <= 0:
            del self._open[room_id, user_id]
            self._later(self._leave_later(room_id, user_id))

    def heard(self, room_id: UUID, user_id: UUID, *, online: bool) -> None:
        """Contradict another process that takes somebody for gone who is here."""
        if not online and (room_id, user_id) in self._open:
            self._later(self._tell(room_id, user_id, online=True))

    async def renew(self) -> None:
        """Keep everybody who is here for another while."""
        if self._open:
            await roster().put(list(self._open))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _leave_later(self, room_id: UUID, user_id: UUID) -> None:
        await asyncio.sleep(GRACE_SECONDS)
        if (room_id, user_id) not in self._open:
            await self._tell(room_id, user_id, online=False)

    async def _tell(self, room_id: UUID, user_id: UUID, *, online: bool) -> None:
        if online:
            await roster().put([(room_id, user_id)])
        else:
            await roster().drop(room_id, user_id)
        if await roster().count(room_id) > LARGE_ROOM:
            return
        frame = encode(events.Presence(room=room_id, user=user_id, online=online))
        publisher.publish(publisher.PresenceChanged(room_id, frame, user=user_id, online=online))


async def present_users(room_id: UUID) -> list[UUID]:
    """Return who is in a room; nobody where that cannot be known."""
    return await roster().read(room_id)
