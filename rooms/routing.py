"""Where the socket is, and how it is put together for a process."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from channels.layers import get_channel_layer
from django.contrib.sessions.models import Session
from django.urls import path
from django.utils import timezone

from accounts.models import ApiToken, User
from rooms.admission import Admission
from rooms.broadcast import Durable
from rooms.consumers import RoomsConsumer
from rooms.hub import RoomHub
from rooms.log import events_after
from rooms.models import Room
from rooms.outlet import Credential
from rooms.replay import replay
from rooms.threads import COMMANDS, in_thread
from rooms.topic import Source

_socket: Any = Admission(RoomsConsumer.as_asgi())  # Any: Django's path() expects views
websocket_urlpatterns = [path("ws/", _socket)]


def make_hub() -> RoomHub:
    """Return the hub of this process, which reads what it missed from the database and replay."""
    layer: Any = get_channel_layer()
    return RoomHub(layer, Source(_last_seqs, _events_after, _deltas, _ended))


async def _last_seqs(room_ids: list[UUID]) -> dict[UUID, int]:
    def read() -> dict[UUID, int]:
        return dict(Room.objects.filter(pk__in=room_ids).values_list("pk", "last_seq"))

    return await in_thread(COMMANDS, read)


async def _events_after(room_id: UUID, after: int) -> list[Durable]:
    return await in_thread(COMMANDS, events_after, room_id, after)


async def _deltas(message: UUID, attempt: int, since: int) -> list[str]:
    held = await replay().read(message, attempt, since)
    return [] if held is None else held.deltas


async def _ended(credentials: Collection[Credential]) -> set[Credential]:
    return await in_thread(COMMANDS, _those_that_ended, credentials)


def _those_that_ended(credentials: Collection[Credential]) -> set[Credential]:
    """Return which credentials nobody could come in by any more; three queries for all."""
    users = User.objects.filter(is_active=True, pk__in={c.user_id for c in credentials})
    tokens = ApiToken.objects.alive().filter(pk__in={c.token_id for c in credentials})
    sessions = Session.objects.filter(
        expire_date__gt=timezone.now(), session_key__in={c.session_key for c in credentials}
    )
    alive = {None, *tokens.values_list("pk", flat=True), *sessions.values_list("pk", flat=True)}
    active = set(users.values_list("pk", flat=True))
    return {c for c in credentials if c.user_id not in active or not {*c.means} <= alive}
