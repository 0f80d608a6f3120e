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
from tests.rooms.fanout.harness import Harness, SocketClient, run_harness

pytestmark = pytest.mark.django_db(transaction=True)


def removing(harness: Harness, cast: Cast, clients: list[SocketClient]) -> Callable[..., Any]:
    """Return `joining.snapshot`, which takes a moment in which the member is removed."""
    snapshot = snapshots.snapshot

    async def removed_meanwhile(*arguments: Any) -> Any:
        await harness.do(
            services.remove_member,
            user=cast.owner,
            room_id=cast.room.pk,
            member_id=cast.member.pk,
        )
        await harness.settled(*clients)
        return await snapshot(*arguments)

    return removed_meanwhile


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "with others"])
async def test_whoever_is_removed_while_they_join_sees_nothing_of_the_room(
    cast: Cast, settings: Settings, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    settings.RATE_LIMITS = False
    async with run_harness() as harness:
        listening = [harness.connect(cast.reader) for _ in range(others)]
        for client in listening:
            await client.join(cast.room.pk)
        removed = harness.connect(cast.member)
        monkeypatch.setattr(snapshots, "snapshot", removing(harness, cast, [*listening, removed]))

        answer = await removed.join(cast.room.pk)
        await harness.do(
            services.post_message,
            user=cast.owner,
            room_id=cast.room.pk,
            text="Are they gone?",
            personas=[],
        )
        await harness.settled(*listening, removed)

        assert (answer["type"], answer["code"]) == ("command.refused", "not_found")
        assert removed.received == [answer]
        assert not removed.joined(cast.room.pk)
        assert all(client.received[-1]["type"] == "message.created" for client in listening)


async def test_stream_of_whoever_is_removed_while_it_begins_sends_nothing_of_the_room(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_harness() as harness:
        removed = harness.connect(cast.member)
        loop = asyncio.get_running_loop()
        read_stand = snapshots.read_stand

        def removed_meanwhile(user: User, room_id: UUID, after: int | None) -> snapshots.Stand:
            stand = read_stand(user, room_id, after)
            services.remove_member(user=cast.owner, room_id=room_id, member_id=user.pk)
            asyncio.run_coroutine_threadsafe(harness.settled(removed), loop).result(DEADLINE)
            return stand

        monkeypatch.setattr(snapshots, "read_stand", removed_meanwhile)
        last = await harness.do(lambda: cast.refreshed().last_seq)
        wish = Wish(cast.member, cast.room.pk, last, Credential(cast.member.pk))
        goes_on = await _begin(wish, harness.hub, removed.connection)

        assert not goes_on
        assert not removed.received
        assert not removed.joined(cast.room.pk)
