"""The cost of idle members: nothing may grow with members times rooms."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from channels.layers import InMemoryChannelLayer
from pytest_django import Settings

from maru.server.lifespan import running
from rooms import redis_clients
from rooms.fanout import hub, presence, publisher
from rooms.fanout.credentials import Credential, RoomsByCredential
from rooms.fanout.hub import RoomHub
from rooms.fanout.presence import MemoryRoster, RedisRoster
from rooms.fanout.publisher import Envelope, LogEntry
from rooms.fanout.topic import Source
from rooms.protocol.commands import MemberType
from rooms.socket import dispatch
from rooms.socket.dispatch import execute
from tests.cluster.harness.services import Redis
from tests.deadlines import DEADLINE
from tests.rooms.conftest import Cast
from tests.rooms.fanout.doubles import FakeClient
from tests.rooms.runs.test_delta_store import needs_redis

ROOMS, MEMBERS = 5, 40
HANDSHAKE = 4
"""The most commands that a new Redis connection sends before the first request."""


@pytest_asyncio.fixture
async def server(settings: Settings) -> AsyncIterator[Redis]:
    """A Redis server that this process uses."""
    with Redis() as started:
        settings.REDIS_URL = started.url
        redis_clients.async_client.cache_clear()
        redis_clients._backoff_until = 0.0  # another test may have set it
        yield started
        await redis_clients.async_client().aclose()
        redis_clients.async_client.cache_clear()


@needs_redis
async def test_presence_is_renewed_with_three_commands_per_room(server: Redis) -> None:
    rooms, roster = [uuid4() for _ in range(ROOMS)], RedisRoster()
    members = {room: {uuid4() for _ in range(MEMBERS)} for room in rooms}
    with server.connect() as redis:
        before = calls(redis)
        await roster.put([(room, user) for room, users in members.items() for user in users])
        spent = calls(redis) - before

    assert spent <= 3 * ROOMS + HANDSHAKE
    assert {room: set(await roster.read(room)) for room in rooms} == members


def calls(redis: object) -> int:
    stats: dict[str, dict[str, int]] = redis.info("commandstats")  # type: ignore[attr-defined] # redis-py is untyped here
    return sum(each["calls"] for name, each in stats.items() if name != "cmdstat_info")


class CountingSource:
    """A source without new events; it counts its queries."""

    def __init__(self) -> None:
        self.checks = 0
        self.gap_reads = 0

    def source(self) -> Source:
        return Source(self._last_seqs, self._events_after, self._deltas, self._revoked)

    async def _last_seqs(self, rooms: list[UUID]) -> dict[UUID, int]:
        self.checks += 1
        return dict.fromkeys(rooms, 7)

    async def _events_after(self, room: UUID, after: int) -> list[LogEntry]:
        self.gap_reads += 1
        return []

    async def _deltas(self, message: UUID, attempt: int, since: int) -> list[str]:
        self.gap_reads += 1
        return []

    async def _revoked(self, rooms: RoomsByCredential) -> set[Credential]:
        return set()


class CountingLayer(InMemoryChannelLayer):
    """The in-memory layer; it counts the messages."""

    sent = 0

    async def group_send(self, group: str, message: dict[str, object]) -> None:
        self.sent += 1
        await super().group_send(group, message)


async def test_idle_connections_share_one_query_per_check_and_receive_no_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub, "CHECK_SECONDS", 0.02)
    monkeypatch.setattr(presence, "roster", MemoryRoster)
    monkeypatch.setattr(presence, "LARGE_ROOM", 0)  # no announcements, which would be counted
    source, layer, rooms = CountingSource(), CountingLayer(), [uuid4() for _ in range(ROOMS)]
    clients = [FakeClient() for _ in range(MEMBERS)]
    room_hub = RoomHub(layer, source.source())
    async with running(room_hub.run(), "hub"):
        for client in clients:
            room_hub.connect(client.connection)
            for room in rooms:
                await room_hub.start(await room_hub.subscribe(room, client.connection), 7, {})
        await asyncio.gather(*(client.connection.drained() for client in clients))
        opened, sent = source.checks, layer.sent
        async with asyncio.timeout(DEADLINE):
            while source.checks < opened + 10:  # noqa: ASYNC110 # no event is set for a check
                await asyncio.sleep(0.01)

    assert opened < ROOMS + 10
    assert source.gap_reads == 0
    assert layer.sent == sent
    assert [client.received for client in clients] == [[]] * MEMBERS


@pytest.mark.django_db
def test_typing_is_not_published_in_a_large_room(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[Envelope] = []
    monkeypatch.setattr(publisher, "publish", published.append)

    execute(MemberType(room=cast.room.pk), cast.member, "en")
    assert len(published) == 1
    monkeypatch.setattr(dispatch, "LARGE_ROOM", 3)
    execute(MemberType(room=cast.room.pk), cast.member, "en")

    assert len(published) == 1
