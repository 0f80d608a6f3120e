"""Tells people what goes on in rooms that they are in and have not joined on this socket.

However much is said, a process asks the database at most once a second, and only for the people
whose sockets it has. Whether they are (still) in the room is part of that question.
"""

import asyncio
from collections import defaultdict
from collections.abc import Set
from typing import Final
from uuid import UUID

import structlog

from rooms.executors import COMMANDS, in_thread
from rooms.fanout.connection import Connection
from rooms.fanout.unread import Unread, count_unread
from rooms.protocol.events import RoomActivity, encode

log = structlog.get_logger(__name__)

EVERY_SECONDS: Final = 1.0


class Activity:
    """Gathers the rooms in which something was said, and tells of them together."""

    def __init__(self) -> None:
        self._rooms: set[UUID] = set()
        self._task: asyncio.Task[None] | None = None

    def heard(self, room_id: UUID, connections: Set[Connection]) -> None:
        """Tell the members of the room among `connections`, soon."""
        if any(room_id not in connection.subscriptions for connection in connections):
            self._rooms.add(room_id)
            if self._task is None:
                self._task = asyncio.create_task(self._tell_later(connections))

    async def _tell_later(self, connections: Set[Connection]) -> None:
        await asyncio.sleep(EVERY_SECONDS)
        rooms, self._rooms, self._task = self._rooms, set(), None
        # Taken before we count: whoever is shown out meanwhile has heard the last of the room.
        elsewhere = {
            connection: rooms - connection.subscriptions.keys() for connection in connections
        }
        users = {connection.user_id for connection, away in elsewhere.items() if away}
        try:
            found = await in_thread(COMMANDS, count_unread, rooms, users)
        except Exception as error:  # counts come again with the next message
            log.warning("activity.untold", error=type(error).__name__)
            return
        connections_of: defaultdict[UUID, list[Connection]] = defaultdict(list)
        for connection in elsewhere:
            connections_of[connection.user_id].append(connection)
        for each in found:
            for connection in connections_of[each.user]:
                if each.room in elsewhere[connection] and _concerns(each, connection):
                    connection.send(_frame(each))


def _concerns(each: Unread, connection: Connection) -> bool:
    bound_to = connection.credential.team_id
    return bound_to in (None, each.team) and each.room not in connection.subscriptions


def _frame(each: Unread) -> bytes:
    event = RoomActivity(room=each.room, seq=each.seq, unread=each.messages, mentions=each.mentions)
    return encode(event)
