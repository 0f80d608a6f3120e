"""Pinned messages, the messages around one, and a read position that moves back."""

from uuid import uuid4

from tests.live import Person, PopulatedRoom
from tests.wire.server import Server
from tests.wire.shapes import MESSAGE, check


async def test_pin_reaches_the_room_and_its_list(
    server: Server, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as mine, server.client(member) as theirs:
        await mine.join(room.id)
        await theirs.join(room.id)
        older, newer = [await theirs.send(room.id, text) for text in ("older", "newer")]

        for sent in (newer, older):
            await mine.command("message.pin", message=sent["message"], on=True)
        event = await theirs.event("message.updated")
        listed = server.request("GET", f"/rooms/{room.id}/pins", member).body["items"]
        first = server.request("GET", f"/rooms/{room.id}/pins?limit=1", member).body
        second = server.request("GET", f"/rooms/{room.id}/pins?cursor={first['next']}", member).body

        user = server.request("GET", "/me", owner).body["id"]
        assert event["message"]["pinned"]["by"] == user
        assert [each["text"] for each in listed] == ["older", "newer"]
        assert [*first["items"], *second["items"]] == listed
        check(MESSAGE, listed[0])
        assert server.request("DELETE", f"/messages/{older['message']}/pin", member).status == 204
        left = server.request("GET", f"/rooms/{room.id}/pins", member).body["items"]
        assert [each["text"] for each in left] == ["newer"]


async def test_list_around_a_message_has_its_neighbours(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client:
        sent = [(await client.send(room.id, f"{n}"))["message"] for n in range(30)]
    path = f"/rooms/{room.id}/messages"

    page = server.request("GET", f"{path}?around={sent[27]}", owner).body
    listed = server.request("GET", f"{path}?limit=200", owner).body["items"]
    first = server.request("GET", f"{path}?around={listed[-1]['id']}", owner).body

    assert [each["id"] for each in page["items"]] == sent[:1:-1]
    earlier = server.request("GET", f"{path}?cursor={page['next']}", owner).body
    assert [each["id"] for each in earlier["items"]][:2] == sent[1::-1]
    assert (first["items"], first["next"]) == (listed[-26:], None)
    assert server.request("GET", f"{path}?around={uuid4()}", owner).status == 404
    for other in ("before=9", "limit=9", "thread=all"):
        assert server.request("GET", f"{path}?around={sent[0]}&{other}", owner).status == 400


async def test_read_position_that_moves_back_reaches_the_other_connections(
    server: Server, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as mine, server.client(member) as theirs:
        await theirs.join(room.id)
        sent = [await theirs.send(room.id, text) for text in ("one", "two")]
        await mine.event("room.activity", unread=2)

        read = server.request("PUT", f"/rooms/{room.id}/read", owner, {"seq": sent[1]["seq"]})
        await mine.event("room.activity", unread=0)
        back = server.request("PUT", f"/rooms/{room.id}/read", owner, {"seq": sent[0]["seq"]})
        await mine.until(lambda frame: frame["type"] == "room.activity" and frame["unread"] == 1)

    assert read.body == {"unread": 0, "mentions": 0}
    assert back.body == {"unread": 1, "mentions": 0}


def test_member_mutes_a_room_and_makes_it_a_favourite(
    server: Server, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    path = f"/rooms/{room.id}/place"

    muted = server.request("PATCH", path, owner, {"muted": True})
    chosen = server.request("PATCH", path, owner, {"favourite": True, "muted": False})

    assert muted.body == {"muted": True, "favourite": False}
    assert chosen.body == server.request("GET", path, owner).body
    assert chosen.body == {"muted": False, "favourite": True}
    assert server.request("GET", path, member).body == {"muted": False, "favourite": False}
