"""Where the socket is, and how it is put together for a process."""

from typing import Any
from uuid import UUID

from channels.layers import get_channel_layer
from django.urls import path, re_path

from rooms.event_log import events_after
from rooms.executors import CHECKS, in_thread
from rooms.fanout.credentials import Credential, RoomsByCredential
from rooms.fanout.hub import RoomHub
from rooms.fanout.publisher import LogEntry
from rooms.fanout.topic import Source
from rooms.models import Room
from rooms.runs.delta_store import delta_store
from rooms.socket.authentication import those_that_ended
from rooms.socket.consumer import RoomsConsumer
from rooms.socket.handshake import Admission, nowhere

_socket: Any = Admission(RoomsConsumer.as_asgi())  # Any: Django's path() expects views
_nowhere: Any = nowhere
websocket_urlpatterns = [path("ws/", _socket), re_path("", _nowhere)]


def make_hub() -> RoomHub:
    """Return the hub of this process, which reads what it missed from the database and replay."""
    layer: Any = get_channel_layer()
    return RoomHub(layer, Source(_last_seqs, _events_after, _deltas, _ended))


async def _last_seqs(room_ids: list[UUID]) -> dict[UUID, int]:
    def read() -> dict[UUID, int]:
        return dict(Room.objects.filter(pk__in=room_ids).values_list("pk", "last_seq"))

    return await in_thread(CHECKS, read)


async def _events_after(room_id: UUID, after: int) -> list[LogEntry]:
    return await in_thread(CHECKS, events_after, room_id, after)


async def _deltas(message: UUID, attempt: int, since: int) -> list[str]:
    held = await delta_store().read(message, attempt, since)
    return [] if held is None else held.deltas


async def _ended(joined: RoomsByCredential) -> set[Credential]:
    return await in_thread(CHECKS, those_that_ended, joined)
