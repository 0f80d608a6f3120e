"""Ephemeral events: activity, typing, presence."""

import asyncio

import pytest

from tests.deadlines import DEADLINE
from tests.live import Frame, Person, PopulatedRoom
from tests.wire.server import Server, WireClient


@pytest.fixture
def handle(server: Server, owner: Person) -> str:
    return str(server.request("GET", "/me", owner).body["handle"])


async def activity(client: WireClient, room: str, seq: int) -> tuple[int, int]:
    """Return the counts of unread messages and of mentions, as of `seq`."""
    delivered = await client.find(
        lambda frame: (
            frame["type"] == "room.activity" and frame["room"] == room and frame["seq"] >= seq
        )
    )
    return delivered["unread"], delivered["mentions"]


async def test_activity_counts_unread_messages_and_mentions(
    server: Server, owner: Person, member: Person, room: PopulatedRoom, handle: str
) -> None:
    async with server.client(owner) as client, server.client(member) as other:
        before = await other.send(room.id, "so far")
        await client.send_raw({"type": "room.read", "room": room.id, "seq": before["seq"]})
        await client.received_so_far()

        first = await other.send(room.id, "one")
        assert await activity(client, room.id, first["seq"]) == (1, 0)
        second = await other.send(room.id, f"two, @{handle}")
        assert await activity(client, room.id, second["seq"]) == (2, 1)

        await client.send_raw({"type": "room.read", "room": room.id, "seq": second["seq"]})
        await client.received_so_far()
        third = await other.send(room.id, "three")
        assert await activity(client, room.id, third["seq"]) == (1, 0)


async def test_reading_on_one_connection_updates_the_others_of_the_user_only(
    server: Server, rooms: list[PopulatedRoom]
) -> None:
    room = rooms[4]
    owner, member, reader, _ = room.members
    async with (
        server.client(owner) as first,
        server.client(owner) as second,
        server.client(member) as author,
        server.client(reader) as another,
    ):
        await first.join(room.id)
        sent = await author.send(room.id, "one")
        assert await activity(second, room.id, sent["seq"]) == (1, 0)
        assert await activity(another, room.id, sent["seq"]) == (1, 0)

        await first.send_raw({"type": "room.read", "room": room.id, "seq": sent["seq"]})

        read = await second.event("room.activity", room=room.id, unread=0)
        assert (read["seq"], read["mentions"]) == (sent["seq"], 0)
        await another.send_raw({"type": "room.read", "room": room.id, "seq": sent["seq"]})
        await another.event("room.activity", room=room.id, unread=0)  # a later batch than `read`
        assert len(another.of_type("room.activity")) == 2
        await first.received_so_far()
        assert first.of_type("room.activity") == []


async def test_read_position_never_decreases(
    server: Server, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client, server.client(member) as other:
        read = await other.send(room.id, "read")
        for seq in (read["seq"], 0):
            await client.send_raw({"type": "room.read", "room": room.id, "seq": seq})
        await client.received_so_far()
        unread = await other.send(room.id, "unread")

        assert await activity(client, room.id, unread["seq"]) == (1, 0)


async def test_activity_is_sent_to_members_only(
    server: Server, rooms: list[PopulatedRoom], room: PopulatedRoom, foreign: PopulatedRoom
) -> None:
    async with (
        server.client(room.members[1]) as member,
        server.client(rooms[1].members[0]) as stranger,
        server.client(foreign.members[0]) as foreigner,
        server.client(room.members[0]) as client,
    ):
        sent = await client.send(room.id, "among ourselves")
        await activity(member, room.id, sent["seq"])

        assert [f["type"] for f in await stranger.received_so_far()] == ["command.done"]
        assert [f["type"] for f in await foreigner.received_so_far()] == ["command.done"]


async def test_joined_room_sends_no_activity(
    server: Server, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    async with (
        server.client(owner) as client,
        server.client(member) as other,
        server.client(owner) as second,
    ):
        await client.join(room.id)
        sent = await other.send(room.id, "hello")
        await client.event("message.created", seq=sent["seq"])
        await activity(second, room.id, sent["seq"])

        await client.received_so_far()
        assert client.of_type("room.activity") == []


async def test_typing_is_sent_to_the_members_in_the_room(
    server: Server, owner: Person, member: Person, room: PopulatedRoom, stranger: Person
) -> None:
    async with (
        server.client(owner) as client,
        server.client(member) as other,
        server.client(stranger) as stranger_client,
    ):
        await client.join(room.id)
        await other.join(room.id)
        await stranger_client.send_raw({"type": "member.type", "room": room.id})
        assert (await stranger_client.receive())["code"] == "not_found"
        await other.send_raw({"type": "member.type", "room": room.id})

        typing = await client.event("member.typing", room=room.id)
        assert typing["user"] == member.user


async def test_user_goes_offline_when_the_last_connection_closes(
    server: Server, owner: Person, member: Person, rooms: list[PopulatedRoom]
) -> None:
    room = rooms[0]
    async with server.client(owner) as client:
        await client.join(room.id)
        async with server.client(member) as one:
            await one.join(room.id)
            await client.event("presence", room=room.id, user=member.user, online=True)
            async with server.client(member) as two:
                await two.join(room.id)
            await client.received_so_far()
            assert offline_frames(client, member) == []

        await client.event("presence", room=room.id, user=member.user, online=False)
        async with server.client(member) as again, asyncio.timeout(DEADLINE):
            await again.join(room.id)
            while not is_online_again(client, member):
                await client.receive()


def offline_frames(client: WireClient, person: Person) -> list[Frame]:
    delivered = [frame for frame in client.of_type("presence") if frame["user"] == person.user]
    return [frame for frame in delivered if not frame["online"]]


def is_online_again(client: WireClient, person: Person) -> bool:
    delivered = [frame for frame in client.of_type("presence") if frame["user"] == person.user]
    return delivered[-1]["online"] is True


async def test_activity_is_sent_at_most_once_a_second(
    server: Server, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    clock = asyncio.get_running_loop().time
    async with server.client(owner) as client, server.client(member) as other:
        began = clock()
        sent = [await other.send(room.id, f"message {n}") for n in range(40)]
        await activity(client, room.id, sent[-1]["seq"])
        seconds = clock() - began

    assert len(client.of_type("room.activity")) <= seconds + 2
