"""What a client that comes back is given: all that it lacks, or the room afresh."""

import pytest

from rooms import joining, log
from rooms.joining import read_stand
from rooms.services import post_message
from tests.rooms.conftest import Cast

pytestmark = pytest.mark.django_db


def say(cast: Cast, times: int, text: str = "hello") -> None:
    for _ in range(times):
        post_message(user=cast.owner, room_id=cast.room.pk, text=text, personas=[])


def test_all_events_come_however_many_reads_they_take(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "READ_AT_ONCE", 3)
    say(cast, 7)
    last = cast.refreshed().last_seq

    stand = read_stand(cast.member, cast.room.pk, last - 7)

    assert stand.events == log.events_after(cast.room.pk, last - 7)
    assert len(stand.events) == 7


def test_more_bytes_than_a_socket_may_keep_are_given_as_the_room_afresh(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "MOST_BYTES", 10_000)
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
