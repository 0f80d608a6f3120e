"""The read position that a member sets, which may move back."""

import pytest

from rooms import services
from rooms.models import RoomMember
from tests.rooms.conftest import Cast

pytestmark = pytest.mark.django_db


def test_position_moves_back_and_the_messages_behind_it_are_unread(cast: Cast) -> None:
    posted = [
        services.post_message(
            user=cast.member, room_id=cast.room.pk, text=f"{n} @owner", personas=[]
        ).message
        for n in range(3)
    ]
    services.mark_read(user=cast.owner, room_id=cast.room.pk, seq=posted[-1].seq)

    counts = services.set_read_position(
        user=cast.owner, room_id=cast.room.pk, seq=posted[1].seq - 1
    )

    assert (counts.messages, counts.mentions) == (2, 2)
    member = RoomMember.objects.get(room=cast.room, user=cast.owner)
    assert member.read_seq == posted[1].seq - 1


def test_position_ends_at_the_end_of_the_log(cast: Cast) -> None:
    services.post_message(user=cast.member, room_id=cast.room.pk, text="words", personas=[])

    counts = services.set_read_position(user=cast.owner, room_id=cast.room.pk, seq=2**40)

    assert (counts.messages, counts.mentions) == (0, 0)
    member = RoomMember.objects.get(room=cast.room, user=cast.owner)
    assert member.read_seq == cast.refreshed().last_seq
