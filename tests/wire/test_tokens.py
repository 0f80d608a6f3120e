"""Tokens of the REST interface: scopes, teams, expiry and deletion."""

from tests.live import Person, PopulatedRoom
from tests.wire.server import Server


def test_me_returns_the_user_of_the_token(server: Server, owner: Person) -> None:
    me = server.request("GET", "/me", owner).body
    changed = server.request("PATCH", "/me", owner, {"name": "김하늘"})

    assert me["id"] == owner.user
    assert changed.status == 200
    assert server.request("GET", "/me", owner).body["name"] == "김하늘"
    server.request("PATCH", "/me", owner, {"name": me["name"]})


def test_token_is_shown_once_and_invalid_after_deletion(server: Server, member: Person) -> None:
    ended, token = server.create_token(member)
    listed = server.request("GET", "/me/tokens", member)

    assert token.startswith("maru_")
    assert token not in listed.raw.decode()
    assert ended in [one["id"] for one in listed.body["items"]]
    assert server.request("GET", "/me", token).status == 200
    assert server.request("DELETE", f"/me/tokens/{ended}", member).status in (200, 204)
    assert server.request("GET", "/me", token).status == 401
    assert server.request("DELETE", f"/me/tokens/{ended}", member).status == 404


def test_token_is_visible_to_its_owner_only(server: Server, owner: Person, member: Person) -> None:
    theirs, _ = server.create_token(member)

    assert server.request("DELETE", f"/me/tokens/{theirs}", owner).status == 404
    assert theirs not in server.request("GET", "/me/tokens", owner).raw.decode()
    server.request("DELETE", f"/me/tokens/{theirs}", member)


def test_read_token_cannot_write(server: Server, owner: Person, room: PopulatedRoom) -> None:
    _, token = server.create_token(owner, scopes=["read"])

    assert server.request("GET", f"/rooms/{room.id}/messages", token).status == 200
    refused = server.request("POST", f"/rooms/{room.id}/messages", token, {"text": "hello"})
    assert refused.code == "forbidden"
    assert server.request("POST", "/me/tokens", token, {"name": "more"}).code == "forbidden"


async def test_read_token_cannot_write_by_command(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    _, token = server.create_token(owner, scopes=["read"])
    async with server.client(token) as client:
        assert (await client.join(room.id))["type"] == "room.snapshot"
        assert (await client.say(room.id, "hello"))["code"] == "forbidden"


def test_team_token_works_in_its_team_only(
    server: Server, room: PopulatedRoom, owner: Person, foreign: PopulatedRoom
) -> None:
    _, bound = server.create_token(owner, team=room.team)
    refused = server.request("POST", "/me/tokens", owner, {"name": "x", "team": foreign.team})

    assert server.request("GET", f"/rooms/{room.id}", bound).status == 200
    assert refused.code == "not_found"


def test_token_cannot_create_a_stronger_token(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    _, token = server.create_token(owner, scopes=["read", "write"], team=room.team)

    response = server.request("POST", "/me/tokens", token, {"name": "more", "scopes": ["admin"]})
    assert response.code == "forbidden", response


def test_expired_token_is_invalid(server: Server, owner: Person) -> None:
    response = server.request(
        "POST", "/me/tokens", owner, {"name": "old", "expires_at": "2020-01-01T00:00:00Z"}
    )
    if response.status == 201:
        assert server.request("GET", "/me", response.body["token"]).status == 401
    else:
        assert response.code == "invalid"


def test_refusal_by_scope_is_audited_and_not_logged(
    server: Server, rooms: list[PopulatedRoom]
) -> None:
    room, elsewhere = server.populate(1, 1)[0], rooms[0]
    owner = room.members[0]
    _id, reader = server.create_token(owner, scopes=["read"], team=room.team)
    _id, bound = server.create_token(owner, scopes=["admin"], team=room.team)
    before = len(server.installation.output)

    refused = [
        server.request("PATCH", f"/rooms/{room.id}", reader, {"topic": "mine"}),
        server.request("PATCH", "/me", bound, {"name": "Mine"}),
        server.request("GET", f"/rooms/{room.id}/stream?after=-1", reader),
        server.request("GET", f"/rooms/{elsewhere.id}/stream", bound),
        server.request("PATCH", f"/rooms/{elsewhere.id}", bound, {"topic": "mine"}),
        server.request("GET", "/nothing/here", bound),
    ]

    assert [answer.status for answer in refused] == [403, 403, 400, 404, 404, 404]
    assert server.installation.output[before:] == ""
    listed = server.request("GET", f"/teams/{room.team}/audit?action=PATCH", bound).body["items"]
    assert [entry["target"]["id"] for entry in listed] == [None, room.id]
    assert {(entry["refused"], entry["actor"]["id"]) for entry in listed} == {(True, owner.user)}
