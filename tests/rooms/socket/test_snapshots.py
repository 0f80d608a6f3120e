"""What a client that comes back is given: all that it lacks, or the room afresh."""

from uuid import UUID

import pytest
from pytest_django import Settings

from accounts.models import User
from rooms import event_log
from rooms.models import Room
from rooms.permissions import access_room
from rooms.services import post_message
from rooms.socket import snapshots
from rooms.socket.snapshots import read_stand
from tests.rooms.conftest import Cast
from tests.rooms.fanout.harness import run_harness

pytestmark = pytest.mark.django_db


def say(cast: Cast, times: int, text: str = "hello") -> None:
    for _ in range(times):
        post_message(user=cast.owner, room_id=cast.room.pk, text=text, personas=[])


def test_all_events_come_however_many_reads_they_take(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "READ_AT_ONCE", 3)
    say(cast, 7)
    last = cast.refreshed().last_seq

    stand = read_stand(cast.member, cast.room.pk, last - 7)

    assert stand.events == event_log.events_after(cast.room.pk, last - 7)
    assert len(stand.events) == 7


def test_more_bytes_than_a_socket_may_keep_are_given_as_the_room_afresh(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "MOST_BYTES", 10_000)
    say(cast, 5, "x" * 3_000)
    last = cast.refreshed().last_seq

    few = read_stand(cast.member, cast.room.pk, last - 1)
    many = read_stand(cast.member, cast.room.pk, last - 5)

    assert few.events is not None
    assert many.events is None
    assert many.state is not None


def test_nothing_new_takes_no_look_into_the_log(cast: Cast) -> None:
    stand = read_stand(cast.member, cast.room.pk, cast.refreshed().last_seq)

    assert (stand.events, stand.state) == ([], None)


@pytest.mark.parametrize("ahead", [1, 10**9])
def test_position_from_the_future_gets_the_room_afresh(cast: Cast, ahead: int) -> None:
    stand = read_stand(cast.member, cast.room.pk, cast.refreshed().last_seq + ahead)

    assert stand.events is None
    assert stand.state is not None


@pytest.mark.django_db(transaction=True)
async def test_gate_is_asked_once_where_others_listen_already_and_lets_no_stranger_in(
    cast: Cast, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RATE_LIMITS = False
    asked: list[User] = []

    def counted(user: User, room_id: UUID, permission: str) -> Room:
        asked.append(user)
        return access_room(user, room_id, permission)

    monkeypatch.setattr(snapshots, "access_room", counted)
    async with run_harness() as harness:
        owner, member, stranger = map(harness.connect, (cast.owner, cast.member, cast.stranger))
        for client in (owner, member, stranger):
            heard = await client.join(cast.room.pk)
        await owner.say(cast.room.pk, "hello")
        await harness.settled(owner, member, stranger)

    assert [asked.count(user) for user in (cast.owner, cast.member, cast.stranger)] == [2, 1, 1]
    assert member.joined(cast.room.pk)
    assert heard["code"] == "not_found"
    assert stranger.received == [heard]
    assert not stranger.joined(cast.room.pk)
