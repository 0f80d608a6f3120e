"""A member removed between the permission check and the snapshot receives nothing of the room."""

from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import Settings

from rooms import services
from rooms.fanout.credentials import Credential
from rooms.socket import snapshots
from rooms.socket.sse import StreamRequest, _begin
from tests.rooms.conftest import Cast
from tests.rooms.fanout.harness import Harness, SocketClient, run_harness

pytestmark = pytest.mark.django_db(transaction=True)


def removing(harness: Harness, cast: Cast, clients: list[SocketClient]) -> Callable[..., Any]:
    """Return `build_snapshot` that first removes the member and waits for the event."""
    build_snapshot = snapshots.build_snapshot

    async def remove_and_build(*arguments: Any) -> Any:
        await harness.do(
            services.remove_member,
            user=cast.owner,
            room_id=cast.room.pk,
            member_id=cast.member.pk,
        )
        await harness.settled(*clients)
        return await build_snapshot(*arguments)

    return remove_and_build


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "with others"])
async def test_member_removed_during_a_join_receives_nothing(
    cast: Cast, settings: Settings, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    settings.RATE_LIMITS = False
    async with run_harness() as harness:
        readers = [harness.connect(cast.reader) for _ in range(others)]
        for client in readers:
            await client.join(cast.room.pk)
        removed = harness.connect(cast.member)
        monkeypatch.setattr(
            snapshots, "build_snapshot", removing(harness, cast, [*readers, removed])
        )

        answer = await removed.join(cast.room.pk)
        await harness.do(
            services.post_message,
            user=cast.owner,
            room_id=cast.room.pk,
            text="After the removal",
            personas=[],
        )
        await harness.settled(*readers, removed)

        assert (answer["type"], answer["code"]) == ("command.refused", "not_found")
        assert removed.received == [answer]
        assert not removed.joined(cast.room.pk)
        assert all(client.received[-1]["type"] == "message.created" for client in readers)


async def test_stream_of_a_member_removed_during_its_start_sends_nothing(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_harness() as harness:
        removed = harness.connect(cast.member)
        read_snapshot = snapshots.read_snapshot

        async def read_and_remove(*arguments: Any) -> snapshots.SnapshotData:
            data = await read_snapshot(*arguments)
            await harness.do(
                services.remove_member,
                user=cast.owner,
                room_id=cast.room.pk,
                member_id=cast.member.pk,
            )
            await harness.settled(removed)
            return data

        monkeypatch.setattr(snapshots, "read_snapshot", read_and_remove)
        last = await harness.do(lambda: cast.refreshed().last_seq)
        request = StreamRequest(cast.member, cast.room.pk, last, Credential(cast.member.pk))
        started = await _begin(request, harness.hub, removed.connection)

        assert not started
        assert not removed.received
        assert not removed.joined(cast.room.pk)
