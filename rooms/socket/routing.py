"""The URL of the socket, and the hub of a process with its sources."""

from typing import Any
from uuid import UUID

from channels.layers import get_channel_layer
from django.db.models import F
from django.urls import path, re_path

from rooms.event_log import events_after
from rooms.executors import CHECKS, in_thread
from rooms.fanout.credentials import Credential, RoomsByCredential
from rooms.fanout.hub import RoomHub
from rooms.fanout.publisher import LogEntry
from rooms.fanout.topic import Source
from rooms.models import Room
from rooms.runs.delta_store import delta_store
from rooms.socket.any_of import AnyOf
from rooms.socket.authentication import revoked_credentials
from rooms.socket.consumer import RoomsConsumer
from rooms.socket.handshake import Handshake, refuse_unknown_path

_socket: Any = Handshake(RoomsConsumer.as_asgi())  # Any: Django's path() expects views
_unknown: Any = refuse_unknown_path
websocket_urlpatterns = [path("ws/", _socket), re_path("", _unknown)]


def make_hub() -> RoomHub:
    """Return the hub of this process; it fills gaps from the database and the delta store."""
    layer: Any = get_channel_layer()
    return RoomHub(layer, Source(_last_seqs, _events_after, _deltas, _revoked))


async def _last_seqs(room_ids: list[UUID]) -> dict[UUID, int]:
    def read() -> dict[UUID, int]:
        return dict(Room.objects.filter(AnyOf(F("pk"), room_ids)).values_list("pk", "last_seq"))

    return await in_thread(CHECKS, read)


async def _events_after(room_id: UUID, after: int) -> list[LogEntry]:
    return await in_thread(CHECKS, events_after, room_id, after)


async def _deltas(message: UUID, attempt: int, since: int) -> list[str]:
    stored = await delta_store().read(message, attempt, since)
    return [] if stored is None else stored.deltas


async def _revoked(joined: RoomsByCredential) -> set[Credential]:
    return await in_thread(CHECKS, revoked_credentials, joined)
