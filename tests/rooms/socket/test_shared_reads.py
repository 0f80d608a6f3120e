"""Clients that join a room at the same seq share one read; rights are checked for each join."""

import asyncio
from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.models import User
from accounts.services import update_profile
from rooms import event_log, queries, services
from rooms.models import RoomMember, RoomRole
from rooms.runs.delta_store import StoredDeltas
from rooms.socket import shared_reads, snapshots
from rooms.socket.joins import Join, authorize_many
from rooms.socket.shared_deltas import SharedDeltas
from rooms.socket.shared_reads import RoomRead, SharedReads
from rooms.socket.snapshots import read_log, read_state
from tests.rooms.conftest import Cast, add_people
from tests.rooms.fanout.harness import Harness, run_harness

pytestmark = pytest.mark.django_db(transaction=True)

Json = dict[str, Any]


@pytest.fixture
def reads(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """Return the rooms whose state is read, in order."""
    settings.RATE_LIMITS = False
    rooms: list[UUID] = []

    def counted(room_id: UUID, present: Collection[UUID] = ()) -> RoomRead:
        rooms.append(room_id)
        return read_state(room_id, present)

    monkeypatch.setattr(snapshots, "read_state", counted)
    return rooms


async def joined(harness: Harness, cast: Cast, *users: User) -> list[Json]:
    """Return the snapshots of users who join at once."""
    clients = [harness.connect(user) for user in users]
    return await asyncio.gather(*(client.join(cast.room.pk) for client in clients))


async def test_joins_of_one_seq_share_one_read_and_differ_in_permissions(
    cast: Cast, reads: list[UUID]
) -> None:
    async with run_harness() as harness:
        await joined(harness, cast, cast.owner)
        snapshots_ = await joined(harness, cast, *[cast.owner, cast.member, cast.reader] * 5)
        owner, member, reader = (each["state"] for each in snapshots_[:3])

    assert reads == [cast.room.pk]
    assert owner.pop("permissions") == ["manage", "moderate", "post", "view"]
    assert member.pop("permissions") == ["post", "view"]
    assert reader.pop("permissions") == ["view"]
    assert owner == member == reader


async def test_joins_during_a_read_wait_for_it(cast: Cast, reads: list[UUID]) -> None:
    async with run_harness() as harness:
        await joined(harness, cast, *[cast.member] * 20)

    assert len(reads) == 1


def say(cast: Cast) -> object:
    return services.post_message(user=cast.owner, room_id=cast.room.pk, text="new", personas=[])


def test_log_is_read_again_if_the_room_changes(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """The open answers would be those of another seq than the events."""
    changes, last_events = iter([say, say]), event_log.last_events

    def last_events_and_change(room_id: UUID, after: int, seq: int) -> Any:
        events = last_events(room_id, after, seq)
        for change in changes:
            change(cast)
            break
        return events

    monkeypatch.setattr(event_log, "last_events", last_events_and_change)
    read = read_log(cast.room.pk, 0)

    cast.room.refresh_from_db()
    assert (read.seq, read.until, len(read.events)) == (cast.room.last_seq,) * 3


CHANGES: dict[str, Callable[[Cast], object]] = {
    "message": say,
    "profile": lambda cast: update_profile(user=cast.reader, name="Renamed"),
    "member": lambda cast: services.remove_member(
        user=cast.owner, room_id=cast.room.pk, member_id=cast.reader.pk
    ),
    "topic": lambda cast: services.update_room(
        user=cast.owner, room_id=cast.room.pk, topic="other"
    ),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_change_after_a_read_is_in_the_next_snapshot(
    cast: Cast, reads: list[UUID], change: str
) -> None:
    async with run_harness() as harness:
        (before,) = await joined(harness, cast, cast.member)
        await harness.do(CHANGES[change], cast)
        (after,) = await joined(harness, cast, cast.member)
        expected = await harness.do(lambda: read_state(cast.room.pk))

    assert before["state"] != after["state"]
    assert after["seq"] == expected.seq
    assert len(reads) == 2


async def test_member_removed_during_the_read_is_refused(
    cast: Cast, reads: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    room_state = queries.room_state
    done: list[object] = []

    def remove_and_read(*args: Any, **kwargs: Any) -> Any:
        if not done:  # before the messages are read, and after the seq
            done.append(None)
            services.remove_member(user=cast.owner, room_id=cast.room.pk, member_id=cast.member.pk)
            say(cast)
        return room_state(*args, **kwargs)

    monkeypatch.setattr(queries, "room_state", remove_and_read)
    monkeypatch.setattr(snapshots, "MAX_READS", 1)
    async with run_harness() as harness:
        refused, answered = await joined(harness, cast, cast.member, cast.reader)

    assert refused["code"] == "not_found"
    assert "state" not in refused
    assert answered["type"] == "room.snapshot"


async def test_resuming_clients_share_one_read_of_the_log(
    cast: Cast, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RATE_LIMITS = False
    wanted: list[int] = []

    def counted(room_id: UUID, after: int) -> RoomRead:
        wanted.append(after)
        return read_log(room_id, after)

    monkeypatch.setattr(snapshots, "read_log", counted)
    async with run_harness() as harness:
        first = await harness.do(lambda: cast.refreshed().last_seq)
        for _ in range(5):
            await harness.do(say, cast)
        clients = [harness.connect(cast.member) for _ in range(6)]
        answers = await asyncio.gather(
            *(client.join(cast.room.pk, first + n) for n, client in enumerate(clients))
        )
        later = await harness.connect(cast.reader).join(cast.room.pk, first + 2)

    seqs = [[event["seq"] for event in answer["events"]] for answer in [*answers, later]]
    assert seqs == [list(range(first + n + 1, first + 6)) for n in [*range(6), 2]]
    assert wanted == [first]


async def test_read_that_began_before_a_change_is_repeated_for_later_joins() -> None:
    begun: list[int] = []
    last_seq, release = 1, asyncio.Event()

    async def read(_room: UUID, _after: int) -> RoomRead:
        begun.append(seq := last_seq)
        await release.wait()
        return RoomRead(seq=seq, until=seq, open_answers=())

    shared, room = SharedReads(read), UUID(int=1)
    early = asyncio.create_task(shared.get(room, 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    last_seq = 2
    late = [asyncio.create_task(shared.get(room, 2)) for _ in range(3)]
    await asyncio.sleep(0)
    early.cancel()  # its client disconnects; the others still wait for the read
    release.set()

    assert [each.seq for each in await asyncio.gather(*late)] == [2, 2, 2]
    assert begun == [1, 2]
    assert (await shared.get(room, 2)).seq == 2
    assert begun == [1, 2]


async def test_kept_reads_have_a_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_reads, "MAX_BYTES", 1_000)
    begun: list[UUID] = []

    async def read(room: UUID, _after: int) -> RoomRead:
        begun.append(room)
        return RoomRead(seq=1, until=1, open_answers=(), state=bytes(400))

    shared = SharedReads(read)
    first, second, third = (UUID(int=n) for n in range(3))
    for room in (first, second, first, third, first, second):
        await shared.get(room, 1)

    assert begun == [first, second, third, second]  # the third replaced the second


def queries_of(act: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as captured:
        act()
    return len(captured)


def test_hundred_joins_take_one_query_and_a_read_takes_ten(cast: Cast, reads: list[UUID]) -> None:
    members = [cast.owner, cast.moderator, cast.member, cast.reader, cast.stranger] * 20
    requests = [Join(user, cast.room.pk, is_counted=False) for user in members]

    assert queries_of(lambda: authorize_many(requests)) == 1
    assert queries_of(lambda: read_state(cast.room.pk)) <= 8
    assert queries_of(lambda: read_log(cast.room.pk, 0)) <= 4


def test_large_room_has_a_state_of_the_same_size(cast: Cast) -> None:
    add_people(cast, 2 * queries.MEMBERS)
    author, online = User.objects.get(handle="p150"), User.objects.get(handle="p151")
    services.post_message(user=author, room_id=cast.room.pk, text="hello", personas=[])
    RoomMember.objects.filter(user__handle="p152").update(role=RoomRole.MODERATOR)
    moderator = User.objects.get(handle="p152")

    state = queries.room_state(cast.refreshed(), [], present=[online.pk])

    assert len(state.members) == queries.MEMBERS
    assert [member.user for member in state.members[:5]] == [
        cast.owner.pk,
        cast.moderator.pk,
        moderator.pk,
        author.pk,
        online.pk,
    ]
    assert len({member.user for member in state.members}) == queries.MEMBERS
    assert not state.members_complete
    assert state.room.member_count == 2 * queries.MEMBERS + 4
    assert queries_of(lambda: read_state(cast.room.pk)) <= 10


def test_room_of_a_hundred_members_has_all_of_them(cast: Cast) -> None:
    add_people(cast, queries.MEMBERS - 4)

    state = queries.room_state(cast.refreshed(), [])

    assert len(state.members) == state.room.member_count == queries.MEMBERS
    assert state.members_complete
    assert [member.user for member in state.members[:4]] == [
        *(cast.owner.pk, cast.moderator.pk, cast.member.pk, cast.reader.pk)
    ]


async def test_clients_that_wait_share_the_next_read_of_the_deltas(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts, begun, release = ["a", "b"], list[int](), asyncio.Event()

    class Store:
        async def read(self, _message: UUID, attempt: int, since: int = 0) -> StoredDeltas:
            begun.append(since)
            found = StoredDeltas(attempt, since, texts[since:])
            await release.wait()
            return found

    monkeypatch.setattr("rooms.socket.shared_deltas.delta_store", Store)
    shared, answer = SharedDeltas(), UUID(int=1)
    first = asyncio.create_task(shared.read(answer, 1))
    await asyncio.sleep(0)
    texts.append("c")  # published while the first read runs
    others = [asyncio.create_task(shared.read(answer, 1, since)) for since in (2, 1, 0, 3)]
    await asyncio.sleep(0)
    release.set()
    found = [each.deltas for each in await asyncio.gather(first, *others) if each]

    assert found == [["a", "b"], ["c"], ["b", "c"], ["a", "b", "c"], []]
    assert begun == [0, 0, 3]
