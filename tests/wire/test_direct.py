"""Direct rooms, as clients see them."""

from typing import Any

from tests.live import Person, PopulatedRoom
from tests.wire.server import UNKNOWN_ID, Server
from tests.wire.shapes import ROOM, check


async def test_same_set_has_the_same_room_which_each_member_names_by_the_others(
    server: Server, rooms: list[PopulatedRoom], room: PopulatedRoom, stranger: Person
) -> None:
    first, second, third = (each.members[0] for each in rooms[:3])
    path = f"/teams/{room.team}/direct"

    opened = server.request("POST", path, first, {"users": [second.user]})
    again = server.request("POST", path, second, {"users": [first.user], "personas": []})
    larger = server.request("POST", path, first, {"users": [second.user, third.user]})

    check(ROOM, opened.body)
    assert opened.status == again.status == 200
    assert opened.body["id"] == again.body["id"] != larger.body["id"]
    assert (opened.body["direct"], opened.body["privacy"]) == (True, "private")
    name_of_first = server.request("GET", "/me", first).body["name"]
    assert again.body["name"] == name_of_first
    address = f"/rooms/{opened.body['id']}"
    assert server.request("GET", address, second).body["name"] == name_of_first
    listed = server.request("GET", f"/teams/{room.team}/rooms", second).body["items"]
    assert name_of_first in [one["name"] for one in listed if one["id"] == opened.body["id"]]
    for outsider in (third, stranger):
        assert server.request("GET", address, outsider).code == "not_found"
    assert server.request("PATCH", address, first, {"name": "x"}).code == "forbidden"
    left = server.request("DELETE", f"{address}/members/{first.user}", first)
    assert left.code == "conflict"


async def test_snapshot_of_a_direct_room_has_no_name(
    server: Server, rooms: list[PopulatedRoom], room: PopulatedRoom
) -> None:
    first, second = (each.members[0] for each in rooms[:2])
    body = {"users": [second.user]}
    opened = server.request("POST", f"/teams/{room.team}/direct", first, body).body

    async with server.client(second) as client:
        state = (await client.join(opened["id"]))["state"]

    assert (state["room"]["name"], state["room"]["direct"]) == ("", True)
    assert {one["user"] for one in state["members"]} == {first.user, second.user}


def test_strangers_and_wrong_ids_are_refused_alike(
    server: Server, room: PopulatedRoom, member: Person, foreign: PopulatedRoom
) -> None:
    path, stranger = f"/teams/{room.team}/direct", foreign.members[0]
    refused = server.request("POST", path, stranger, {"users": [member.user]})
    assert refused == server.request(
        "POST", f"/teams/{UNKNOWN_ID}/direct", stranger, {"users": [member.user]}
    )
    assert refused.code == "not_found"
    for body in ({"users": [UNKNOWN_ID]}, {"users": [stranger.user]}, {"personas": [UNKNOWN_ID]}):
        assert server.request("POST", path, member, body).code == "not_found"
    mistakes: list[Any] = [{}, {"users": []}, {"users": [member.user]}, {"users": "x"}, {"more": 1}]
    for wrong in mistakes:
        assert server.request("POST", path, member, wrong).code == "invalid"
