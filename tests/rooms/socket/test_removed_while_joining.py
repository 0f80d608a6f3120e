"""Somebody is removed between the gate's yes and the snapshot: they see nothing of the room."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from pytest_django import Settings

from accounts.models import User
from rooms import services
from rooms.fanout.credentials import Credential
from rooms.socket import snapshots
from rooms.socket.sse import Wish, _begin
from tests.deadlines import DEADLINE
from tests.rooms.conftest import Cast
from tests.rooms.fanout.hall import Hall, Seat, open_hall

pytestmark = pytest.mark.django_db(transaction=True)


def removing(hall: Hall, cast: Cast, seats: list[Seat]) -> Callable[..., Any]:
    """Return `joining.snapshot`, which takes a moment in which the member is removed."""
    snapshot = snapshots.snapshot

    async def removed_meanwhile(*arguments: Any) -> Any:
        await hall.do(
            services.remove_member,
            user=cast.owner,
            room_id=cast.room.pk,
            member_id=cast.member.pk,
        )
        await hall.settled(*seats)
        return await snapshot(*arguments)

    return removed_meanwhile


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "with others"])
async def test_whoever_is_removed_while_they_join_sees_nothing_of_the_room(
    cast: Cast, settings: Settings, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    settings.RATE_LIMITS = False
    async with open_hall() as hall:
        listening = [hall.seat(cast.reader) for _ in range(others)]
        for seat in listening:
            await seat.join(cast.room.pk)
        removed = hall.seat(cast.member)
        monkeypatch.setattr(snapshots, "snapshot", removing(hall, cast, [*listening, removed]))

        answer = await removed.join(cast.room.pk)
        await hall.do(
            services.post_message,
            user=cast.owner,
            room_id=cast.room.pk,
            text="Are they gone?",
            personas=[],
        )
        await hall.settled(*listening, removed)

        assert (answer["type"], answer["code"]) == ("command.refused", "not_found")
        assert removed.heard == [answer]
        assert not removed.joined(cast.room.pk)
        assert all(seat.heard[-1]["type"] == "message.created" for seat in listening)


async def test_stream_of_whoever_is_removed_while_it_begins_sends_nothing_of_the_room(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_hall() as hall:
        removed = hall.seat(cast.member)
        loop = asyncio.get_running_loop()
        read_stand = snapshots.read_stand

        def removed_meanwhile(user: User, room_id: UUID, after: int | None) -> snapshots.Stand:
            stand = read_stand(user, room_id, after)
            services.remove_member(user=cast.owner, room_id=room_id, member_id=user.pk)
            asyncio.run_coroutine_threadsafe(hall.settled(removed), loop).result(DEADLINE)
            return stand

        monkeypatch.setattr(snapshots, "read_stand", removed_meanwhile)
        last = await hall.do(lambda: cast.refreshed().last_seq)
        wish = Wish(cast.member, cast.room.pk, last, Credential(cast.member.pk))
        goes_on = await _begin(wish, hall.hub, removed.outlet)

        assert not goes_on
        assert not removed.heard
        assert not removed.joined(cast.room.pk)
