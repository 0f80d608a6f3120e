"""The REST interface: responses, pagination and errors."""

import json
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.deadlines import DEADLINE
from tests.live import Person, PopulatedRoom
from tests.wire.server import UNKNOWN_ID, Response, Server, new_client_id
from tests.wire.shapes import ERROR, MESSAGE, ROOM, TEXT, check, each, null_or, record


def paths(room: PopulatedRoom, message: str, run: str) -> list[tuple[str, str, Any]]:
    """Return every route of a room or its parts, with a valid body."""
    user, persona = room.members[1].user, UNKNOWN_ID
    return [
        ("GET", f"/rooms/{room.id}", None),
        ("PATCH", f"/rooms/{room.id}", {"topic": "mine"}),
        ("GET", f"/rooms/{room.id}/members", None),
        ("PUT", f"/rooms/{room.id}/members/{user}", {"role": "owner"}),
        ("DELETE", f"/rooms/{room.id}/members/{user}", None),
        ("PUT", f"/rooms/{room.id}/personas/{persona}", None),
        ("DELETE", f"/rooms/{room.id}/personas/{persona}", None),
        ("GET", f"/rooms/{room.id}/messages", None),
        ("GET", f"/rooms/{room.id}/messages?limit=1&before=5", None),
        ("POST", f"/rooms/{room.id}/messages", {"text": "hello"}),
        ("GET", f"/rooms/{room.id}/events?after=0", None),
        ("GET", f"/rooms/{room.id}/stream?after=0", None),
        ("GET", f"/messages/{message}", None),
        ("PATCH", f"/messages/{message}", {"text": "mine"}),
        ("DELETE", f"/messages/{message}", None),
        ("PUT", f"/messages/{message}/reactions/%F0%9F%91%8D", None),
        ("DELETE", f"/messages/{message}/reactions/x", None),
        ("GET", f"/runs/{run}", None),
        ("POST", f"/runs/{run}/cancel", None),
        ("POST", f"/runs/{run}/retry", None),
    ]


@pytest.fixture(scope="module")
def answered(server: Server, rooms: list[PopulatedRoom]) -> tuple[str, str]:
    """The ids of a message of the first room and of the run that answers it."""
    room = rooms[0]
    posted = server.request(
        "POST", f"/rooms/{room.id}/messages", room.members[0], {"text": "hello"}
    )
    assert posted.status == 201, posted.raw
    listed = server.request("GET", f"/rooms/{room.id}/messages?after=0", room.members[0]).body
    (run,) = posted.body["runs"]
    return listed["items"][-1]["id"], run


def post(server: Server, room: PopulatedRoom, person: Person, **body: Any) -> Response:
    return server.request("POST", f"/rooms/{room.id}/messages", person, {"personas": [], **body})


def seqs(answer: Response) -> list[int]:
    return [message["seq"] for message in answer.body["items"]]


def test_request_without_a_valid_token_gets_the_same_401_everywhere(
    server: Server, room: PopulatedRoom, answered: tuple[str, str]
) -> None:
    known = [(method, path) for method, path, _ in paths(room, *answered)]
    others = [("GET", "/me"), ("POST", "/me/tokens"), ("GET", f"/teams/{room.team}/rooms")]
    others += [
        ("GET", "/rooms/nonsense"),
        ("GET", "/nothing/here"),
        ("PUT", "/me"),
        ("POST", "/me"),
    ]
    refused = [
        server.request(method, path, token)
        for method, path in [*known, *others]
        for token in (None, "maru_dead", "nonsense")
    ]
    refused += [server.request("POST", f"/rooms/{room.id}/messages", None, b"{nonsense")]

    assert {answer.status for answer in refused} == {401}
    assert len({answer.raw for answer in refused}) == 1
    assert refused[0].code == "unauthenticated"
    check(ERROR, refused[0].body)


def test_stranger_gets_the_response_of_an_unknown_id(
    server: Server,
    room: PopulatedRoom,
    answered: tuple[str, str],
    stranger: Person,
    foreign: PopulatedRoom,
) -> None:
    nothing = PopulatedRoom(UNKNOWN_ID, UNKNOWN_ID, room.members)
    nowhere = [path for _, path, _ in paths(nothing, UNKNOWN_ID, UNKNOWN_ID)]
    for person in (stranger, foreign.members[0]):
        for (method, path, good), elsewhere in zip(paths(room, *answered), nowhere, strict=True):
            for body in (good, {"nonsense": 1}, b"{", {"text": "x" * 16_001}) if good else (None,):
                answer = server.request(method, path, person, body)
                assert answer == server.request(method, elsewhere, person, body), (path, body)
                assert (answer.status, answer.code) == (404, "not_found"), (path, body)
    check(ERROR, answer.body)


def test_team_owner_does_not_see_private_rooms_of_others(
    server: Server, team_rooms: list[PopulatedRoom], room: PopulatedRoom
) -> None:
    theirs = team_rooms[0]
    team_owner = theirs.members[0]

    assert server.request("GET", f"/rooms/{room.id}", team_owner).status == 404
    listed = server.request("GET", f"/teams/{theirs.team}/rooms", team_owner).body["items"]
    assert [one["id"] for one in listed] == [theirs.id]


def test_rooms_of_a_team_are_listed_to_its_members_only(
    server: Server, room: PopulatedRoom, member: Person, foreign: PopulatedRoom
) -> None:
    listed = server.request("GET", f"/teams/{room.team}/rooms", member)
    refused = server.request("GET", f"/teams/{room.team}/rooms", foreign.members[0])

    check(record("list", items=each(ROOM), next=null_or(TEXT)), listed.body)
    assert refused.status == 404
    assert refused == server.request("GET", f"/teams/{UNKNOWN_ID}/rooms", foreign.members[0])


@pytest.mark.parametrize(
    "path",
    ["/rooms/nonsense", "/rooms/7", "/rooms/A-b", "/messages/0", "/runs/%00", "/nothing"],
)
def test_malformed_id_is_not_found(server: Server, owner: Person, path: str) -> None:
    answer = server.request("GET", path, owner)

    assert (answer.status, answer.code) == (404, "not_found")
    assert answer.raw == server.request("GET", f"/rooms/{UNKNOWN_ID}", owner).raw


def test_unknown_fields_are_refused(server: Server, owner: Person, room: PopulatedRoom) -> None:
    for method, path, body in (
        ("PATCH", "/me", {"name": "x", "is_staff": True}),
        ("POST", "/me/tokens", {"name": "x", "user": UNKNOWN_ID}),
        ("PATCH", f"/rooms/{room.id}", {"topic": "x", "team": UNKNOWN_ID}),
        ("POST", f"/rooms/{room.id}/messages", {"text": "x", "author": UNKNOWN_ID}),
        ("POST", f"/teams/{room.team}/rooms", {"name": "x", "owner": UNKNOWN_ID}),
    ):
        answer = server.request(method, path, owner, body)
        assert (answer.status, answer.code) == (400, "invalid"), (path, answer)
        check(ERROR, answer.body)
    assert server.request("GET", f"/rooms/{room.id}", owner).body["topic"] == ""


def test_invalid_bodies_are_refused(server: Server, owner: Person, room: PopulatedRoom) -> None:
    bodies: list[Any] = [b"", b"{", b"null", b"\xff", [], "x", 7, {}, {"text": None}, {"text": 7}]
    bodies += [{"text": ""}, {"text": "x", "client_id": "x"}, {"text": "x", "reply_to": "x"}]
    bodies += [{"text": "x", "personas": "all"}, {"text": "x", "personas": ["x"]}, b"[" * 10_000]
    for body in bodies:
        answer = server.request("POST", f"/rooms/{room.id}/messages", owner, body)
        assert answer.code == "invalid", (body, answer)
        check(ERROR, answer.body)


def test_messages_are_paginated_newest_first(server: Server, rooms: list[PopulatedRoom]) -> None:
    room = rooms[2]
    owner = room.members[0]
    for number in range(25):
        assert post(server, room, owner, text=f"message {number}").status == 201
    path = f"/rooms/{room.id}/messages"
    whole = server.request("GET", path, owner)
    check(record("list", items=each(MESSAGE), next=null_or(TEXT)), whole.body)

    paged, cursor = [], ""
    while cursor is not None:
        page = server.request("GET", f"{path}?limit=4{cursor and f'&cursor={cursor}'}", owner)
        assert len(page.body["items"]) <= 4
        paged += seqs(page)
        cursor = page.body["next"]
    assert paged == sorted(paged, reverse=True)
    assert len(set(paged)) == 25

    assert seqs(whole) == paged[: len(seqs(whole))]
    assert seqs(server.request("GET", f"{path}?limit=200", owner)) == paged
    middle = paged[12]
    assert seqs(server.request("GET", f"{path}?limit=200&before={middle}", owner)) == paged[13:]
    assert seqs(server.request("GET", f"{path}?limit=200&after={middle}", owner)) == paged[:12]
    between = f"{path}?limit=200&after={paged[20]}&before={paged[10]}"
    assert seqs(server.request("GET", between, owner)) == paged[11:20]


def test_pagination_is_stable_while_messages_arrive(
    server: Server, rooms: list[PopulatedRoom]
) -> None:
    room = rooms[3]
    owner = room.members[0]
    for number in range(9):
        post(server, room, owner, text=f"message {number}")
    path = f"/rooms/{room.id}/messages?limit=3"
    first = server.request("GET", path, owner)
    known = seqs(server.request("GET", f"/rooms/{room.id}/messages", owner))

    post(server, room, owner, text="in between")
    second = server.request("GET", f"{path}&cursor={first.body['next']}", owner)
    third = server.request("GET", f"{path}&cursor={second.body['next']}", owner)
    assert seqs(first) + seqs(second) + seqs(third) == known


def test_lists_return_at_most_200_and_refuse_invalid_parameters(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    messages = f"/rooms/{room.id}/messages"
    for wrong in (
        *("limit=0", "limit=-1", "limit=x", "limit=201", "limit=9999", "limit=5.0"),
        *("limit=1&limit=2", "cursor=x", "before=x", "after=-1", "after=x", "after=0.5"),
        *("after=true", "befor=1"),
    ):
        refused = server.request("GET", f"{messages}?{wrong}", owner)
        assert refused.code == "invalid", wrong
        assert [*refused.body["fields"]] == [wrong.partition("=")[0]], wrong
    for path in (messages, f"/rooms/{room.id}/members", f"/teams/{room.team}/rooms", "/me/tokens"):
        assert server.request("GET", f"{path}?limit=201", owner).code == "invalid"
        assert len(server.request("GET", f"{path}?limit=200", owner).body["items"]) <= 200
        one = server.request("GET", f"{path}?limit=1", owner).body
        assert set(one) == {"items", "next"}
        assert len(one["items"]) == 1


def test_members_are_paginated_by_cursor(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    path, users, cursor = f"/rooms/{room.id}/members?limit=3", [], ""
    while cursor is not None:
        page = server.request("GET", f"{path}{cursor and f'&cursor={cursor}'}", owner).body
        users += [one["user"] for one in page["items"]]
        cursor = page["next"]

    assert sorted(users) == sorted(one.user for one in room.members)


async def test_message_by_rest_is_sent_to_connections(
    server: Server, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    client_id = new_client_id()
    async with server.client(member) as client:
        await client.join(room.id)
        persona = [client.personas["echo"]]
        body = {"text": "by rest", "client_id": client_id, "personas": persona}
        first = post(server, room, owner, **body)
        again = post(server, room, owner, **body)
        delivered = await client.find(
            lambda f: f["type"] == "message.created" and f["message"]["text"] == "by rest"
        )
        ended = await client.ended(first.body["runs"][0])
        await client.received_so_far()

    assert (first.status, again.status) in ((201, 201), (201, 200))
    assert delivered["message"]["id"] in first.raw.decode()
    assert again.body["runs"] == first.body["runs"]
    posted = [f for f in client.of_type("message.created") if f["message"]["text"] == "by rest"]
    assert len(posted) == 1
    assert ended["type"] == "run.completed"


def test_reader_cannot_post(server: Server, room: PopulatedRoom) -> None:
    reader = room.members[3]
    server.request(
        "PUT", f"/rooms/{room.id}/members/{reader.user}", room.members[0], {"role": "reader"}
    )

    assert server.request("GET", f"/rooms/{room.id}/messages", reader).status == 200
    for body in ({"text": "hello"}, {"nonsense": 1}, b"{", {"text": "x" * 16_001}):
        answer = server.request("POST", f"/rooms/{room.id}/messages", reader, body)
        assert (answer.status, answer.code) == (403, "forbidden"), body


def test_created_room_is_private_and_owned_by_its_creator(
    server: Server, room: PopulatedRoom, member: Person, stranger: Person
) -> None:
    created = server.request("POST", f"/teams/{room.team}/rooms", member, {"name": "새 방"})
    assert created.status == 201, created.raw
    new = created.body

    check(ROOM, new)
    assert (new["privacy"], new["answer_policy"], new["team"]) == ("private", "default", room.team)
    listed = server.request("GET", f"/rooms/{new['id']}/members", member).body["items"]
    assert [(one["user"], one["role"]) for one in listed] == [(member.user, "owner")]
    assert server.request("GET", f"/rooms/{new['id']}", stranger).status == 404


def test_health_and_readiness_answer_200(server: Server) -> None:
    for path in ("/healthz", "/readyz"):
        connection = HTTPConnection("127.0.0.1", server.installation.port, timeout=DEADLINE)
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        connection.close()
        assert response.status == 200, path


def test_published_schema_names_all_events(server: Server) -> None:
    schema = json.dumps(server.request("GET", "/wire.json").body)

    for kind in ("room.snapshot", "message.delta", "run.position", "room.removed", "presence"):
        assert f'"{kind}"' in schema


def test_published_schema_is_public_and_cacheable(server: Server, owner: Person) -> None:
    answers = [server.request("GET", "/wire.json", who) for who in (None, owner, "maru_dead")]

    assert {answer.status for answer in answers} == {200}
    assert len({answer.raw for answer in answers}) == 1
    assert len({answer.headers["etag"] for answer in answers}) == 1
    for answer in answers:
        assert "public" in answer.headers["cache-control"]
        assert "set-cookie" not in answer.headers


def test_rest_responses_forbid_caching(server: Server, owner: Person, room: PopulatedRoom) -> None:
    connection = HTTPConnection("127.0.0.1", server.installation.port, timeout=DEADLINE)
    headers = {"Authorization": f"Bearer {owner.token}"}
    connection.request("GET", f"/api/v1/rooms/{room.id}", headers=headers)
    response = connection.getresponse()
    response.read()
    connection.close()

    assert "no-store" in response.headers["Cache-Control"]
