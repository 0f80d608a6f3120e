"""Sends `room.activity`: unread counts of rooms that a connection is not subscribed to.

The counts of a room change for all its members with a new message, and for one user who has read.
A process queries the database at most once a second, regardless of the number of messages, and only
for the users of its own connections. The query returns current members only.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Set
from typing import Final
from uuid import UUID

import structlog

from accounts.errors import is_outage
from rooms.executors import COMMANDS, in_thread
from rooms.fanout.connection import Connection
from rooms.fanout.unread import Unread, count_unread, count_unread_of
from rooms.protocol.events import RoomActivity, encode

log = structlog.get_logger(__name__)

EVERY_SECONDS: Final = 1.0


class Activity:
    """Collects rooms whose counts have changed, and sends the counts in one batch per second."""

    def __init__(self) -> None:
        self._rooms: set[UUID] = set()
        self._reads: defaultdict[UUID, set[UUID]] = defaultdict(set)  # users by room
        self._task: asyncio.Task[None] | None = None

    def add(self, room_id: UUID, connections: Set[Connection]) -> None:
        """Add a room to the next batch, unless all connections are subscribed to it."""
        if any(room_id not in connection.subscriptions for connection in connections):
            self._rooms.add(room_id)
            self._schedule(connections)

    def add_reads(
        self, users_by_room: Mapping[UUID, Collection[UUID]], connections: Set[Connection]
    ) -> None:
        """Add rooms to the next batch of the users who have read them, on any connection."""
        of_user: defaultdict[UUID, list[Connection]] = defaultdict(list)
        for connection in connections:
            of_user[connection.user_id].append(connection)
        for room_id, users in users_by_room.items():
            for user_id in users:
                if any(room_id not in each.subscriptions for each in of_user.get(user_id, ())):
                    self._reads[room_id].add(user_id)
                    self._schedule(connections)

    def _schedule(self, connections: Set[Connection]) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._send_later(connections))

    async def _send_later(self, connections: Set[Connection]) -> None:
        await asyncio.sleep(EVERY_SECONDS)
        rooms, self._rooms, self._task = self._rooms, set(), None
        reads, self._reads = self._reads, defaultdict(set)
        # Read before the query: a user who is removed from a room while the query runs may be in
        # its result, but a connection that was subscribed to that room must not get the counts.
        concerned = rooms | reads.keys()
        joined = {each: each.subscriptions.keys() & concerned for each in connections}
        users = {each.user_id for each, room_ids in joined.items() if not rooms <= room_ids}
        read = [(room, user) for room, readers in reads.items() for user in readers]
        try:
            counts = await in_thread(COMMANDS, _count, rooms, users, read)
        except Exception as error:  # the next message in these rooms starts another batch
            trace = not is_outage(error)
            log.warning("activity.failed", error=type(error).__name__, exc_info=trace)
            return
        connections_of: defaultdict[UUID, list[Connection]] = defaultdict(list)
        for connection in joined:
            connections_of[connection.user_id].append(connection)
        frames: dict[RoomActivity, bytes] = {}  # members who have read nothing have the same counts
        for unread in counts:
            event = RoomActivity(
                room=unread.room,
                seq=unread.seq,
                unread=unread.messages,
                mentions=unread.mentions,
                threads=unread.threads,
            )
            for connection in connections_of[unread.user]:
                if unread.room not in joined[connection] and _may_receive(connection, unread):
                    frame = frames.get(event) or frames.setdefault(event, encode(event))
                    connection.send(frame)


def _count(
    rooms: Collection[UUID], users: Collection[UUID], read: Iterable[tuple[UUID, UUID]]
) -> list[Unread]:
    """Return the counts of `users` in `rooms`, and those of the users who have read other rooms."""
    return [
        *count_unread(rooms, users),
        *count_unread_of(pair for pair in read if pair[0] not in rooms),
    ]


def _may_receive(connection: Connection, unread: Unread) -> bool:
    """Return False for a token of another team, and for a connection that is subscribed now."""
    team_id = connection.credential.team_id
    return team_id in (None, unread.team) and unread.room not in connection.subscriptions
