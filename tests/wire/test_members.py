"""Membership of a room, and the effect of its changes on open connections."""

import asyncio
from urllib.parse import quote

import pytest

from tests.deadlines import REVOCATION
from tests.live import Person, PopulatedRoom
from tests.wire.server import UNKNOWN_ID, Server, WireClient, streamed
from tests.wire.shapes import MEMBER, check, each


@pytest.fixture
def guest(server: Server, rooms: list[PopulatedRoom], room: PopulatedRoom) -> Person:
    """A member of another room, whom the tests add and remove."""
    person = rooms[2].members[2]
    server.allow(room, person)
    return person


def put(server: Server, room: PopulatedRoom, person: Person, role: str = "member") -> None:
    path = f"/rooms/{room.id}/members/{person.user}"
    assert server.request("PUT", path, room.members[0], {"role": role}).status in (200, 201, 204)


def remove(server: Server, room: PopulatedRoom, person: Person) -> None:
    path = f"/rooms/{room.id}/members/{person.user}"
    assert server.request("DELETE", path, room.members[0]).status in (200, 204)


def test_member_lists_the_members(server: Server, room: PopulatedRoom, member: Person) -> None:
    listed = server.request("GET", f"/rooms/{room.id}/members", member).body

    check(each(MEMBER), listed["items"])
    assert {one["user"] for one in listed["items"]} == {one.user for one in room.members}
    assert [one["user"] for one in listed["items"] if one["role"] == "owner"] == [
        room.members[0].user
    ]


def test_members_are_found_by_a_part_of_name_or_handle(
    server: Server, room: PopulatedRoom, member: Person, stranger: Person
) -> None:
    path = f"/rooms/{room.id}/members"
    (me,) = [
        one
        for one in server.request("GET", path, member).body["items"]
        if one["user"] == member.user
    ]

    def found(words: str) -> list[str]:
        listed = server.request("GET", f"{path}?q={quote(words)}", member).body
        return [one["user"] for one in listed["items"]]

    assert found(me["handle"]) == found(f" @{me['handle']} ") == [member.user]
    assert member.user in found(me["name"][:-1].upper())
    assert found("nobody has this name") == []
    assert len(found("")) == len(room.members)
    assert server.request("GET", f"{path}?q={'x' * 81}", member).code == "invalid"
    refused = server.request("GET", f"{path}?q=x", stranger)
    assert refused.status == 404
    assert refused == server.request("GET", f"/rooms/{UNKNOWN_ID}/members?q=x", stranger)


async def test_state_and_room_have_the_number_of_members(
    server: Server, room: PopulatedRoom, member: Person
) -> None:
    async with server.client(member) as client:
        state = (await client.join(room.id))["state"]

    assert state["members_complete"] is True
    assert state["room"]["member_count"] == len(state["members"]) == len(room.members)
    got = server.request("GET", f"/rooms/{room.id}", member).body
    assert got["member_count"] == len(room.members)


async def test_added_member_can_join(
    server: Server, room: PopulatedRoom, guest: Person, owner: Person
) -> None:
    async with server.client(owner) as client, server.client(guest) as new:
        await client.join(room.id)
        assert await new.refusal_code("room.join", room=room.id, after=None, live={}) == "not_found"
        put(server, room, guest)
        await client.event("member.added")

        snapshot = await new.join(room.id)
        assert guest.user in {one["user"] for one in snapshot["state"]["members"]}
        sent = await new.send(room.id, "hello")
        await client.event("message.created", seq=sent["seq"])
    remove(server, room, guest)


async def test_removed_member_receives_room_removed_and_nothing_after_it(
    server: Server, rooms: list[PopulatedRoom], room: PopulatedRoom, guest: Person, owner: Person
) -> None:
    put(server, room, guest)
    async with (
        server.client(guest) as out,
        server.client(guest) as second,
        server.client(owner) as client,
    ):
        await out.join(room.id)
        await second.join(room.id)
        await out.join(rooms[2].id)
        await client.join(room.id)
        async with client.asking(room.id, "tokens-6000@50") as run:
            await out.event("message.delta", run)
            remove(server, room, guest)
            async with asyncio.timeout(REVOCATION):
                await out.event("room.removed", room=room.id)
                await second.event("room.removed", room=room.id)
            await client.event("member.removed")
            await client.until(lambda frame: frame["type"] == "message.delta")
            await client.send(room.id, "among ourselves again")

            assert (
                await out.refusal_code("room.join", room=room.id, after=None, live={})
                == "not_found"
            )
            assert await out.refusal_code("run.cancel", run=run) == "not_found"
            assert server.request("GET", f"/rooms/{room.id}", guest).status == 404
            assert server.request("GET", f"/rooms/{room.id}/messages", guest).status == 404
            for removed in (out, second):
                await removed.received_so_far()
                assert removed.of_room(room.id)[-1]["type"] == "room.removed"
        sent = await out.send(rooms[2].id, "still here")
        await out.event("message.created", seq=sent["seq"])


async def test_member_who_is_added_again_gets_the_whole_answer(
    server: Server, room: PopulatedRoom, guest: Person, owner: Person
) -> None:
    put(server, room, guest)
    async with server.client(guest) as out, server.client(owner) as client:
        before = await out.join(room.id)
        await client.join(room.id)
        async with client.asking(room.id, "tokens-6000@50") as run:
            delta = await out.event("message.delta", run)
            remove(server, room, guest)
            await out.event("room.removed", room=room.id)
            put(server, room, guest)
            held = {delta["message"]: [delta["attempt"], delta["seq"]]}
            back = await out.join(room.id, before["seq"], **held)
            (live,) = [one for one in back["live"] if one["run"] == run]
            mark = len(out.frames)
            await out.until(lambda frame: len(streamed(out.frames[mark:])) > 100)
        await out.ended(run)
        await client.ended(run)

    assert live["from"] in (0, delta["seq"] + 1)
    head = "" if live["from"] == 0 else delta["text"]
    assert head + live["text"] + streamed(out.frames[mark:]) == streamed(client.of_run(run))
    remove(server, room, guest)


async def test_changed_role_applies_to_the_next_command(
    server: Server, room: PopulatedRoom, guest: Person, owner: Person
) -> None:
    put(server, room, guest)
    async with server.client(guest) as client, server.client(owner) as other:
        await client.join(room.id)
        await other.join(room.id)
        await client.send(room.id, "as a member")

        put(server, room, guest, "reader")
        refused = await client.say(room.id, "as a reader")
        by_rest = server.request(
            "POST", f"/rooms/{room.id}/messages", guest, {"text": "as a reader"}
        )
        await other.event("member.changed")
        sent = await other.send(room.id, "you hear me")
        await client.event("message.created", seq=sent["seq"])

        assert (refused["code"], by_rest.code) == ("forbidden", "forbidden")
        put(server, room, guest, "member")
        await client.send(room.id, "as a member again")
    remove(server, room, guest)


async def test_member_removed_while_joining_receives_nothing(
    server: Server, room: PopulatedRoom, guest: Person, owner: Person
) -> None:
    async with server.client(owner) as client, server.client(guest) as racing:
        for _ in range(10):
            put(server, room, guest)
            joining = asyncio.gather(*(racing.connection.send(join(room, n)) for n in range(3)))
            await asyncio.to_thread(remove, server, room, guest)
            await joining
            await racing.received_so_far()
            mark = len(racing.frames)
            await client.send(room.id, "among ourselves")
            await racing.received_so_far()

            received = [f for f in racing.frames[mark:] if f.get("room") == room.id]
            assert [f for f in received if f["type"] != "room.removed"] == []


def join(room: PopulatedRoom, number: int) -> str:
    return (
        f'{{"type":"room.join","ref":"race{number}","room":"{room.id}","after":null,"live":{{}}}}'
    )


async def test_changing_members_needs_the_manage_permission(
    server: Server, room: PopulatedRoom, guest: Person, member: Person, stranger: Person
) -> None:
    path = f"/rooms/{room.id}/members/{guest.user}"
    unknown = f"/rooms/{UNKNOWN_ID}/members/{guest.user}"

    assert server.request("PUT", path, member, {"role": "member"}).code == "forbidden"
    assert server.request("PUT", path, member, {"nonsense": 1}).code == "forbidden"
    theirs = f"/rooms/{room.id}/members/{room.members[2].user}"
    assert server.request("DELETE", theirs, member).code == "forbidden"
    for method, body in (("PUT", {"role": "member"}), ("PUT", {"nonsense": 1}), ("DELETE", None)):
        refused = server.request(method, path, stranger, body)
        assert refused.status == 404
        assert refused == server.request(method, unknown, stranger, body)


async def test_member_body_with_other_fields_is_invalid(
    server: Server, room: PopulatedRoom, guest: Person, owner: Person
) -> None:
    path = f"/rooms/{room.id}/members/{guest.user}"

    bodies: list[object] = [{"role": "king"}, {"role": None}, {"role": 1}, [], "member"]
    for body in [*bodies, {"role": "member", "user": UNKNOWN_ID}]:
        assert server.request("PUT", path, owner, body).code == "invalid", body
    assert server.request("PUT", path, owner, b"{nonsense").code == "invalid"
    assert server.request("GET", f"/rooms/{room.id}", guest).status == 404


async def test_users_of_other_teams_cannot_be_added(
    server: Server, room: PopulatedRoom, owner: Person, foreign: PopulatedRoom
) -> None:
    role = {"role": "member"}
    asked = [
        server.request("PUT", f"/rooms/{room.id}/members/{user}", owner, role)
        for user in (foreign.members[0].user, UNKNOWN_ID)
    ]

    assert asked[0] == asked[1]
    assert asked[0].status == 404


async def test_persona_is_bound_and_unbound(
    server: Server, room: PopulatedRoom, owner: Person, member: Person, stranger: Person
) -> None:
    async with server.client(member) as client:
        await client.join(room.id)
        persona = client.personas["canary"]
        path = f"/rooms/{room.id}/personas/{persona}"
        assert server.request("DELETE", path, member).code == "forbidden"
        assert server.request("DELETE", path, stranger).status == 404
        assert server.request("PUT", path, stranger).status == 404
        assert server.request("DELETE", path, owner).status in (200, 204)
        await client.event("persona.unbound", room=room.id)
        assert persona not in tab_personas(await rejoin(client, room))
        assert (await client.say(room.id, "hello", personas=[persona]))["code"] == "not_found"

        assert server.request("PUT", path, owner).status in (200, 201, 204)
        await client.event("persona.bound", room=room.id)
        assert persona in tab_personas(await rejoin(client, room))
        run = (await client.send(room.id, "CANARY-back", personas=[persona]))["runs"][0]
        assert (await client.ended(run))["type"] == "run.completed"


async def rejoin(client: WireClient, room: PopulatedRoom) -> list[dict[str, str]]:
    personas: list[dict[str, str]] = (await client.join(room.id))["state"]["personas"]
    return personas


def tab_personas(personas: list[dict[str, str]]) -> set[str]:
    return {persona["id"] for persona in personas}


async def test_personas_of_other_teams_cannot_be_bound(
    server: Server, room: PopulatedRoom, owner: Person, foreign: PopulatedRoom
) -> None:
    async with server.client(foreign.members[0]) as far:
        (theirs,) = (await far.join(foreign.id))["state"]["personas"]

    asked = [
        server.request("PUT", f"/rooms/{room.id}/personas/{persona}", owner)
        for persona in (theirs["id"], UNKNOWN_ID)
    ]
    assert asked[0] == asked[1]
    assert asked[0].status == 404
