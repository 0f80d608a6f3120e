"""What is told of rooms in passing: activity, typing, presence."""

import asyncio

import pytest

from tests.deadlines import DEADLINE
from tests.live import Frame, Person, PopulatedRoom
from tests.wire.house import House, Tab


@pytest.fixture
def handle(house: House, owner: Person) -> str:
    return str(house.ask("GET", "/me", owner).body["handle"])


async def activity(tab: Tab, room: str, seq: int) -> tuple[int, int]:
    """Return how many messages are unread and how many of them are mentions, as of `seq`."""
    told = await tab.find(
        lambda frame: (
            frame["type"] == "room.activity" and frame["room"] == room and frame["seq"] >= seq
        )
    )
    return told["unread"], told["mentions"]


async def test_activity_counts_what_is_unread_and_where_one_is_mentioned(
    house: House, owner: Person, member: Person, room: PopulatedRoom, handle: str
) -> None:
    async with house.tab(owner) as tab, house.tab(member) as other:
        before = await other.send(room.id, "so far")
        await tab.tell({"type": "room.read", "room": room.id, "seq": before["seq"]})
        await tab.everything_so_far()

        first = await other.send(room.id, "one")
        assert await activity(tab, room.id, first["seq"]) == (1, 0)
        second = await other.send(room.id, f"two, @{handle}")
        assert await activity(tab, room.id, second["seq"]) == (2, 1)

        await tab.tell({"type": "room.read", "room": room.id, "seq": second["seq"]})
        await tab.everything_so_far()
        third = await other.send(room.id, "three")
        assert await activity(tab, room.id, third["seq"]) == (1, 0)


async def test_reading_never_goes_back(
    house: House, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    async with house.tab(owner) as tab, house.tab(member) as other:
        read = await other.send(room.id, "read")
        for seq in (read["seq"], 0):
            await tab.tell({"type": "room.read", "room": room.id, "seq": seq})
        await tab.everything_so_far()
        unread = await other.send(room.id, "unread")

        assert await activity(tab, room.id, unread["seq"]) == (1, 0)


async def test_activity_of_a_room_is_for_its_members_only(
    house: House, rooms: list[PopulatedRoom], room: PopulatedRoom, foreign: PopulatedRoom
) -> None:
    async with (
        house.tab(room.members[1]) as member,
        house.tab(rooms[1].members[0]) as stranger,
        house.tab(foreign.members[0]) as foreigner,
        house.tab(room.members[0]) as tab,
    ):
        sent = await tab.send(room.id, "among ourselves")
        await activity(member, room.id, sent["seq"])

        assert [f["type"] for f in await stranger.everything_so_far()] == ["command.done"]
        assert [f["type"] for f in await foreigner.everything_so_far()] == ["command.done"]


async def test_joined_rooms_have_no_activity(
    house: House, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    async with house.tab(owner) as tab, house.tab(member) as other, house.tab(owner) as second:
        await tab.join(room.id)
        sent = await other.send(room.id, "hello")
        await tab.event("message.created", seq=sent["seq"])
        await activity(second, room.id, sent["seq"])

        await tab.everything_so_far()
        assert tab.of_type("room.activity") == []


async def test_typing_is_told_to_the_room(
    house: House, owner: Person, member: Person, room: PopulatedRoom, stranger: Person
) -> None:
    async with house.tab(owner) as tab, house.tab(member) as other, house.tab(stranger) as outside:
        await tab.join(room.id)
        await other.join(room.id)
        await outside.tell({"type": "member.type", "room": room.id})
        assert (await outside.receive())["code"] == "not_found"
        await other.tell({"type": "member.type", "room": room.id})

        typing = await tab.event("member.typing", room=room.id)
        assert typing["user"] == member.user


async def test_presence_follows_the_last_tab(
    house: House, owner: Person, member: Person, rooms: list[PopulatedRoom]
) -> None:
    room = rooms[0]
    async with house.tab(owner) as tab:
        await tab.join(room.id)
        async with house.tab(member) as one:
            await one.join(room.id)
            await tab.event("presence", room=room.id, user=member.user, online=True)
            async with house.tab(member) as two:
                await two.join(room.id)
            await tab.everything_so_far()
            assert gone(tab, member) == []

        await tab.event("presence", room=room.id, user=member.user, online=False)
        async with house.tab(member) as again, asyncio.timeout(DEADLINE):
            await again.join(room.id)
            while not comes_after_going(tab, member):
                await tab.receive()


def gone(tab: Tab, person: Person) -> list[Frame]:
    told = [frame for frame in tab.of_type("presence") if frame["user"] == person.user]
    return [frame for frame in told if not frame["online"]]


def comes_after_going(tab: Tab, person: Person) -> bool:
    told = [frame for frame in tab.of_type("presence") if frame["user"] == person.user]
    return told[-1]["online"] is True


async def test_much_that_is_said_is_told_elsewhere_once_a_second(
    house: House, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    clock = asyncio.get_running_loop().time
    async with house.tab(owner) as tab, house.tab(member) as other:
        began = clock()
        sent = [await other.send(room.id, f"message {n}") for n in range(40)]
        await activity(tab, room.id, sent[-1]["seq"])
        seconds = clock() - began

    assert len(tab.of_type("room.activity")) <= seconds + 2
