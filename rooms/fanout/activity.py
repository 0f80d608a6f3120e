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
from rooms.fanout.connection import Outlet
from rooms.fanout.unread import Unread, unread
from rooms.protocol.events import RoomActivity, encode

log = structlog.get_logger(__name__)

EVERY_SECONDS: Final = 1.0


class Activity:
    """Gathers the rooms in which something was said, and tells of them together."""

    def __init__(self) -> None:
        self._rooms: set[UUID] = set()
        self._task: asyncio.Task[None] | None = None

    def heard(self, room_id: UUID, outlets: Set[Outlet]) -> None:
        """Tell the members of the room among `outlets`, soon."""
        if any(room_id not in outlet.subscriptions for outlet in outlets):
            self._rooms.add(room_id)
            if self._task is None:
                self._task = asyncio.create_task(self._tell_later(outlets))

    async def _tell_later(self, outlets: Set[Outlet]) -> None:
        await asyncio.sleep(EVERY_SECONDS)
        rooms, self._rooms, self._task = self._rooms, set(), None
        # Taken before we count: whoever is shown out meanwhile has heard the last of the room.
        elsewhere = {outlet: rooms - outlet.subscriptions.keys() for outlet in outlets}
        users = {outlet.user_id for outlet, away in elsewhere.items() if away}
        try:
            found = await in_thread(COMMANDS, unread, rooms, users)
        except Exception as error:  # counts come again with the next message
            log.warning("activity.untold", error=type(error).__name__)
            return
        outlets_of: defaultdict[UUID, list[Outlet]] = defaultdict(list)
        for outlet in elsewhere:
            outlets_of[outlet.user_id].append(outlet)
        for each in found:
            for outlet in outlets_of[each.user]:
                if each.room in elsewhere[outlet] and _concerns(each, outlet):
                    outlet.post(_frame(each))


def _concerns(each: Unread, outlet: Outlet) -> bool:
    bound_to = outlet.credential.team_id
    return bound_to in (None, each.team) and each.room not in outlet.subscriptions


def _frame(each: Unread) -> bytes:
    event = RoomActivity(room=each.room, seq=each.seq, unread=each.messages, mentions=each.mentions)
    return encode(event)
