"""What people cost who only have a room open: nothing that grows with members times rooms."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from channels.layers import InMemoryChannelLayer
from pytest_django import Settings

from maru.server.lifespan import running
from rooms import redis_store
from rooms.fanout import hub, presence, publisher
from rooms.fanout import unread as unread_module
from rooms.fanout.credentials import Credential, RoomsByCredential
from rooms.fanout.hub import RoomHub
from rooms.fanout.presence import MemoryRoster, RedisRoster
from rooms.fanout.publisher import Envelope, LogEntry
from rooms.fanout.topic import Source
from rooms.fanout.unread import count_unread
from rooms.protocol.commands import MemberType
from rooms.services import mark_read, post_message
from rooms.socket import commands
from rooms.socket.commands import execute
from tests.cluster.harness.services import Redis
from tests.deadlines import DEADLINE
from tests.rooms.conftest import Cast
from tests.rooms.fanout.doubles import FakeClient
from tests.rooms.runs.test_delta_store import needs_redis

ROOMS, MEMBERS = 5, 40
HANDSHAKE = 4
"""So many commands a connection to Redis takes to introduce itself, at most."""


@pytest_asyncio.fixture
async def server(settings: Settings) -> AsyncIterator[Redis]:
    """The Redis of this process."""
    with Redis() as started:
        settings.REDIS_URL = started.url
        redis_store.async_client.cache_clear()
        yield started
        await redis_store.async_client().aclose()
        redis_store.async_client.cache_clear()


@needs_redis
async def test_presence_is_renewed_by_room_however_many_are_in_it(server: Redis) -> None:
    rooms, roster = [uuid4() for _ in range(ROOMS)], RedisRoster()
    everybody = {room: {uuid4() for _ in range(MEMBERS)} for room in rooms}
    with server.connect() as beside:
        before = calls(beside)
        await roster.put([(room, user) for room, users in everybody.items() for user in users])
        spent = calls(beside) - before

    assert spent <= 3 * ROOMS + HANDSHAKE
    assert {room: set(await roster.read(room)) for room in rooms} == everybody


def calls(beside: object) -> int:
    stats: dict[str, dict[str, int]] = beside.info("commandstats")  # type: ignore[attr-defined] # redis-py is untyped here
    return sum(one["calls"] for name, one in stats.items() if name != "cmdstat_info")


class Asked:
    """A source without news; it counts how often it is asked."""

    def __init__(self) -> None:
        self.positions = 0
        self.others = 0

    def source(self) -> Source:
        return Source(self._last_seqs, self._events_after, self._deltas, self._ended)

    async def _last_seqs(self, rooms: list[UUID]) -> dict[UUID, int]:
        self.positions += 1
        return dict.fromkeys(rooms, 7)

    async def _events_after(self, room: UUID, after: int) -> list[LogEntry]:
        self.others += 1
        return []

    async def _deltas(self, message: UUID, attempt: int, since: int) -> list[str]:
        self.others += 1
        return []

    async def _ended(self, joined: RoomsByCredential) -> set[Credential]:
        return set()


class Quiet(InMemoryChannelLayer):
    """The layer; it counts what is sent."""

    sent = 0

    async def group_send(self, group: str, message: dict[str, object]) -> None:
        self.sent += 1
        await super().group_send(group, message)


async def test_idle_sockets_cost_one_question_to_the_database_for_all_and_no_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub, "CHECK_SECONDS", 0.02)
    monkeypatch.setattr(presence, "roster", MemoryRoster)
    monkeypatch.setattr(presence, "LARGE_ROOM", 0)  # who comes is not what is counted here
    asked, layer, rooms = Asked(), Quiet(), [uuid4() for _ in range(ROOMS)]
    clients = [FakeClient() for _ in range(MEMBERS)]
    made = RoomHub(layer, asked.source())
    async with running(made.run(), "hub"):
        for client in clients:
            made.connect(client.connection)
            for room in rooms:
                await made.start(await made.subscribe(room, client.connection), 7, {})
        await asyncio.gather(*(client.connection.drained() for client in clients))
        opened, sent = asked.positions, layer.sent
        async with asyncio.timeout(DEADLINE):
            while asked.positions < opened + 10:  # noqa: ASYNC110 # ten checks
                await asyncio.sleep(0.01)

    assert opened < ROOMS + 10
    assert asked.others == 0
    assert layer.sent == sent
    assert [client.received for client in clients] == [[]] * MEMBERS


@pytest.mark.django_db
def test_typing_is_told_to_few_and_not_to_a_crowd(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Envelope] = []
    monkeypatch.setattr(publisher, "publish", told.append)

    execute(MemberType(room=cast.room.pk), cast.member, "en")
    assert len(told) == 1
    monkeypatch.setattr(commands, "LARGE_ROOM", 3)
    execute(MemberType(room=cast.room.pk), cast.member, "en")

    assert len(told) == 1


@pytest.mark.django_db
def test_what_is_unread_is_counted_among_the_newest_only(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        post_message(user=cast.owner, room_id=cast.room.pk, text=f"m{number}", personas=[])
    monkeypatch.setattr(unread_module, "COUNT_LIMIT", 3)
    (counted,) = count_unread([cast.room.pk], [cast.member.pk])
    mark_read(user=cast.member, room_id=cast.room.pk, seq=cast.refreshed().last_seq - 1)
    (rest,) = count_unread([cast.room.pk], [cast.member.pk])

    assert (counted.messages, rest.messages) == (3, 1)
