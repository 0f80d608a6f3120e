"""The REST interface: what it shows, how it pages, how it refuses."""

import json
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.deadlines import DEADLINE
from tests.live import Person, PopulatedRoom
from tests.wire.house import NOWHERE, Answer, House, fresh
from tests.wire.shapes import ERROR, MESSAGE, ROOM, TEXT, check, each, null_or, record


def paths(room: PopulatedRoom, message: str, run: str) -> list[tuple[str, str, Any]]:
    """Every way in that names a room or something in it, with a good body."""
    user, somebody = room.members[1].user, NOWHERE
    return [
        ("GET", f"/rooms/{room.id}", None),
        ("PATCH", f"/rooms/{room.id}", {"topic": "mine"}),
        ("GET", f"/rooms/{room.id}/members", None),
        ("PUT", f"/rooms/{room.id}/members/{user}", {"role": "owner"}),
        ("DELETE", f"/rooms/{room.id}/members/{user}", None),
        ("PUT", f"/rooms/{room.id}/personas/{somebody}", None),
        ("DELETE", f"/rooms/{room.id}/personas/{somebody}", None),
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
def answered(house: House, rooms: list[PopulatedRoom]) -> tuple[str, str]:
    """A message of the first room and the run that answers it."""
    room = rooms[0]
    said = house.ask("POST", f"/rooms/{room.id}/messages", room.members[0], {"text": "hello"})
    assert said.status == 201, said.raw
    listed = house.ask("GET", f"/rooms/{room.id}/messages?after=0", room.members[0]).body
    (run,) = said.body["runs"]
    return listed["items"][-1]["id"], run


def post(house: House, room: PopulatedRoom, person: Person, **body: Any) -> Answer:
    return house.ask("POST", f"/rooms/{room.id}/messages", person, {"personas": [], **body})


def seqs(answer: Answer) -> list[int]:
    return [message["seq"] for message in answer.body["items"]]


def test_nobody_gets_the_same_refusal_everywhere(
    house: House, room: PopulatedRoom, answered: tuple[str, str]
) -> None:
    known = [(method, path) for method, path, _ in paths(room, *answered)]
    odd = [("GET", "/me"), ("POST", "/me/tokens"), ("GET", f"/teams/{room.team}/rooms")]
    odd += [("GET", "/rooms/nonsense"), ("GET", "/nothing/here"), ("PUT", "/me"), ("POST", "/me")]
    refused = [
        house.ask(method, path, token)
        for method, path in [*known, *odd]
        for token in (None, "maru_dead", "nonsense")
    ]
    refused += [house.ask("POST", f"/rooms/{room.id}/messages", None, b"{nonsense")]

    assert {answer.status for answer in refused} == {401}
    assert len({answer.raw for answer in refused}) == 1
    assert refused[0].code == "unauthenticated"
    check(ERROR, refused[0].body)


def test_strangers_get_what_they_would_get_for_nothing(
    house: House,
    room: PopulatedRoom,
    answered: tuple[str, str],
    stranger: Person,
    foreign: PopulatedRoom,
) -> None:
    nothing = PopulatedRoom(NOWHERE, NOWHERE, room.members)
    nowhere = [path for _, path, _ in paths(nothing, NOWHERE, NOWHERE)]
    for person in (stranger, foreign.members[0]):
        for (method, path, good), elsewhere in zip(paths(room, *answered), nowhere, strict=True):
            for body in (good, {"nonsense": 1}, b"{", {"text": "x" * 16_001}) if good else (None,):
                answer = house.ask(method, path, person, body)
                assert answer == house.ask(method, elsewhere, person, body), (path, body)
                assert (answer.status, answer.code) == (404, "not_found"), (path, body)
    check(ERROR, answer.body)


def test_owner_of_the_team_does_not_see_private_rooms_that_they_are_not_in(
    house: House, neighbourhood: list[PopulatedRoom], room: PopulatedRoom
) -> None:
    theirs = neighbourhood[0]
    team_owner = theirs.members[0]

    assert house.ask("GET", f"/rooms/{room.id}", team_owner).status == 404
    listed = house.ask("GET", f"/teams/{theirs.team}/rooms", team_owner).body["items"]
    assert [one["id"] for one in listed] == [theirs.id]


def test_teams_rooms_are_listed_to_its_members_only(
    house: House, room: PopulatedRoom, member: Person, foreign: PopulatedRoom
) -> None:
    listed = house.ask("GET", f"/teams/{room.team}/rooms", member)
    refused = house.ask("GET", f"/teams/{room.team}/rooms", foreign.members[0])

    check(record("list", items=each(ROOM), next=null_or(TEXT)), listed.body)
    assert refused.status == 404
    assert refused == house.ask("GET", f"/teams/{NOWHERE}/rooms", foreign.members[0])


@pytest.mark.parametrize(
    "path",
    ["/rooms/nonsense", "/rooms/7", "/rooms/A-b", "/messages/0", "/runs/%00", "/nothing"],
)
def test_what_can_be_no_id_is_not_there(house: House, owner: Person, path: str) -> None:
    answer = house.ask("GET", path, owner)

    assert (answer.status, answer.code) == (404, "not_found")
    assert answer.raw == house.ask("GET", f"/rooms/{NOWHERE}", owner).raw


def test_me_is_who_the_token_says(house: House, owner: Person) -> None:
    me = house.ask("GET", "/me", owner).body
    changed = house.ask("PATCH", "/me", owner, {"name": "김하늘"})

    assert me["id"] == owner.user
    assert changed.status == 200
    assert house.ask("GET", "/me", owner).body["name"] == "김하늘"
    house.ask("PATCH", "/me", owner, {"name": me["name"]})


def test_unknown_fields_are_refused(house: House, owner: Person, room: PopulatedRoom) -> None:
    for method, path, body in (
        ("PATCH", "/me", {"name": "x", "is_staff": True}),
        ("POST", "/me/tokens", {"name": "x", "user": NOWHERE}),
        ("PATCH", f"/rooms/{room.id}", {"topic": "x", "team": NOWHERE}),
        ("POST", f"/rooms/{room.id}/messages", {"text": "x", "author": NOWHERE}),
        ("POST", f"/teams/{room.team}/rooms", {"name": "x", "owner": NOWHERE}),
    ):
        answer = house.ask(method, path, owner, body)
        assert (answer.status, answer.code) == (400, "invalid"), (path, answer)
        check(ERROR, answer.body)
    assert house.ask("GET", f"/rooms/{room.id}", owner).body["topic"] == ""


def test_wrong_bodies_are_invalid(house: House, owner: Person, room: PopulatedRoom) -> None:
    bodies: list[Any] = [b"", b"{", b"null", b"\xff", [], "x", 7, {}, {"text": None}, {"text": 7}]
    bodies += [{"text": ""}, {"text": "x", "client_id": "x"}, {"text": "x", "reply_to": "x"}]
    bodies += [{"text": "x", "personas": "all"}, {"text": "x", "personas": ["x"]}, b"[" * 10_000]
    for body in bodies:
        answer = house.ask("POST", f"/rooms/{room.id}/messages", owner, body)
        assert answer.code == "invalid", (body, answer)
        check(ERROR, answer.body)


def test_token_is_shown_once_and_dies_when_deleted(house: House, member: Person) -> None:
    ended, token = house.token_of(member)
    listed = house.ask("GET", "/me/tokens", member)

    assert token.startswith("maru_")
    assert token not in listed.raw.decode()
    assert ended in [one["id"] for one in listed.body["items"]]
    assert house.ask("GET", "/me", token).status == 200
    assert house.ask("DELETE", f"/me/tokens/{ended}", member).status in (200, 204)
    assert house.ask("GET", "/me", token).status == 401
    assert house.ask("DELETE", f"/me/tokens/{ended}", member).status == 404


def test_token_is_its_owners_business(house: House, owner: Person, member: Person) -> None:
    theirs, _ = house.token_of(member)

    assert house.ask("DELETE", f"/me/tokens/{theirs}", owner).status == 404
    assert theirs not in house.ask("GET", "/me/tokens", owner).raw.decode()
    house.ask("DELETE", f"/me/tokens/{theirs}", member)


def test_token_to_read_with_does_not_write(
    house: House, owner: Person, room: PopulatedRoom
) -> None:
    _, token = house.token_of(owner, scopes=["read"])

    assert house.ask("GET", f"/rooms/{room.id}/messages", token).status == 200
    refused = house.ask("POST", f"/rooms/{room.id}/messages", token, {"text": "hello"})
    assert refused.code == "forbidden"
    assert house.ask("POST", "/me/tokens", token, {"name": "more"}).code == "forbidden"


async def test_token_to_read_with_does_not_write_by_socket_either(
    house: House, owner: Person, room: PopulatedRoom
) -> None:
    _, token = house.token_of(owner, scopes=["read"])
    async with house.tab(token) as tab:
        assert (await tab.join(room.id))["type"] == "room.snapshot"
        assert (await tab.say(room.id, "hello"))["code"] == "forbidden"


def test_token_of_one_team_opens_no_other(
    house: House, room: PopulatedRoom, owner: Person, foreign: PopulatedRoom
) -> None:
    _, bound = house.token_of(owner, team=room.team)
    elsewhere = house.ask("POST", "/me/tokens", owner, {"name": "x", "team": foreign.team})

    assert house.ask("GET", f"/rooms/{room.id}", bound).status == 200
    assert elsewhere.code == "not_found"


def test_no_token_can_make_a_stronger_one(house: House, owner: Person, room: PopulatedRoom) -> None:
    _, token = house.token_of(owner, scopes=["read", "write"], team=room.team)

    made = house.ask("POST", "/me/tokens", token, {"name": "more", "scopes": ["admin"]})
    assert made.code == "forbidden", made


def test_expired_token_is_dead(house: House, owner: Person) -> None:
    made = house.ask(
        "POST", "/me/tokens", owner, {"name": "old", "expires_at": "2020-01-01T00:00:00Z"}
    )
    if made.status == 201:
        assert house.ask("GET", "/me", made.body["token"]).status == 401
    else:
        assert made.code == "invalid"


def test_messages_come_newest_first_and_page_without_gap_or_double(
    house: House, rooms: list[PopulatedRoom]
) -> None:
    room = rooms[2]
    owner = room.members[0]
    for number in range(25):
        assert post(house, room, owner, text=f"message {number}").status == 201
    path = f"/rooms/{room.id}/messages"
    whole = house.ask("GET", path, owner)
    check(record("list", items=each(MESSAGE), next=null_or(TEXT)), whole.body)

    paged, cursor = [], ""
    while cursor is not None:
        page = house.ask("GET", f"{path}?limit=4{cursor and f'&cursor={cursor}'}", owner)
        assert len(page.body["items"]) <= 4
        paged += seqs(page)
        cursor = page.body["next"]
    assert paged == sorted(paged, reverse=True)
    assert len(set(paged)) == 25

    assert seqs(whole) == paged[: len(seqs(whole))]
    assert seqs(house.ask("GET", f"{path}?limit=200", owner)) == paged
    middle = paged[12]
    assert seqs(house.ask("GET", f"{path}?limit=200&before={middle}", owner)) == paged[13:]
    assert seqs(house.ask("GET", f"{path}?limit=200&after={middle}", owner)) == paged[:12]
    between = f"{path}?limit=200&after={paged[20]}&before={paged[10]}"
    assert seqs(house.ask("GET", between, owner)) == paged[11:20]


def test_paging_holds_while_more_is_said(house: House, rooms: list[PopulatedRoom]) -> None:
    room = rooms[3]
    owner = room.members[0]
    for number in range(9):
        post(house, room, owner, text=f"message {number}")
    path = f"/rooms/{room.id}/messages?limit=3"
    first = house.ask("GET", path, owner)
    known = seqs(house.ask("GET", f"/rooms/{room.id}/messages", owner))

    post(house, room, owner, text="in between")
    second = house.ask("GET", f"{path}&cursor={first.body['next']}", owner)
    third = house.ask("GET", f"{path}&cursor={second.body['next']}", owner)
    assert seqs(first) + seqs(second) + seqs(third) == known


def test_lists_give_two_hundred_at_most_and_refuse_nonsense(
    house: House, owner: Person, room: PopulatedRoom
) -> None:
    messages = f"/rooms/{room.id}/messages"
    for wrong in ("limit=0", "limit=-1", "limit=x", "cursor=x", "before=x", "after=-1", "after=x"):
        assert house.ask("GET", f"{messages}?{wrong}", owner).code == "invalid", wrong
    for path in (messages, f"/rooms/{room.id}/members", f"/teams/{room.team}/rooms", "/me/tokens"):
        answer = house.ask("GET", f"{path}?limit=201", owner)
        assert answer.code == "invalid" or len(answer.body["items"]) <= 200
        one = house.ask("GET", f"{path}?limit=1", owner).body
        assert set(one) == {"items", "next"}
        assert len(one["items"]) == 1


def test_members_page_by_cursor(house: House, owner: Person, room: PopulatedRoom) -> None:
    path, users, cursor = f"/rooms/{room.id}/members?limit=3", [], ""
    while cursor is not None:
        page = house.ask("GET", f"{path}{cursor and f'&cursor={cursor}'}", owner).body
        users += [one["user"] for one in page["items"]]
        cursor = page["next"]

    assert sorted(users) == sorted(one.user for one in room.members)


async def test_message_by_rest_is_heard_on_the_socket(
    house: House, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    client_id = fresh()
    async with house.tab(member) as tab:
        await tab.join(room.id)
        persona = [tab.personas["echo"]]
        body = {"text": "by rest", "client_id": client_id, "personas": persona}
        first = post(house, room, owner, **body)
        again = post(house, room, owner, **body)
        told = await tab.find(
            lambda f: f["type"] == "message.created" and f["message"]["text"] == "by rest"
        )
        ended = await tab.ended(first.body["runs"][0])
        await tab.everything_so_far()

    assert (first.status, again.status) in ((201, 201), (201, 200))
    assert told["message"]["id"] in first.raw.decode()
    assert again.body["runs"] == first.body["runs"]
    said = [f for f in tab.of_type("message.created") if f["message"]["text"] == "by rest"]
    assert len(said) == 1
    assert ended["type"] == "run.completed"


def test_reader_reads_but_may_not_write(house: House, room: PopulatedRoom) -> None:
    reader = room.members[3]
    house.ask("PUT", f"/rooms/{room.id}/members/{reader.user}", room.members[0], {"role": "reader"})

    assert house.ask("GET", f"/rooms/{room.id}/messages", reader).status == 200
    for body in ({"text": "hello"}, {"nonsense": 1}, b"{", {"text": "x" * 16_001}):
        answer = house.ask("POST", f"/rooms/{room.id}/messages", reader, body)
        assert (answer.status, answer.code) == (403, "forbidden"), body


def test_room_that_somebody_makes_is_private_and_theirs(
    house: House, room: PopulatedRoom, member: Person, stranger: Person
) -> None:
    made = house.ask("POST", f"/teams/{room.team}/rooms", member, {"name": "새 방"})
    assert made.status == 201, made.raw
    new = made.body

    check(ROOM, new)
    assert (new["privacy"], new["answer_policy"], new["team"]) == ("private", "default", room.team)
    listed = house.ask("GET", f"/rooms/{new['id']}/members", member).body["items"]
    assert [(one["user"], one["role"]) for one in listed] == [(member.user, "owner")]
    assert house.ask("GET", f"/rooms/{new['id']}", stranger).status == 404


def test_process_says_that_it_lives_and_is_ready(house: House) -> None:
    for path in ("/healthz", "/readyz"):
        connection = HTTPConnection("127.0.0.1", house.installation.port, timeout=DEADLINE)
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        connection.close()
        assert response.status == 200, path


def test_published_schema_names_all_events(house: House, owner: Person) -> None:
    schema = json.dumps(house.ask("GET", "/wire.json", owner).body)

    for kind in ("room.snapshot", "message.delta", "run.position", "room.removed", "presence"):
        assert f'"{kind}"' in schema


def test_answers_of_the_interface_are_stored_nowhere(
    house: House, owner: Person, room: PopulatedRoom
) -> None:
    connection = HTTPConnection("127.0.0.1", house.installation.port, timeout=DEADLINE)
    headers = {"Authorization": f"Bearer {owner.token}"}
    connection.request("GET", f"/api/v1/rooms/{room.id}", headers=headers)
    response = connection.getresponse()
    response.read()
    connection.close()

    assert "no-store" in response.headers["Cache-Control"]


def test_refusal_of_a_token_that_reaches_less_leaves_the_servers_log_alone(
    house: House, rooms: list[PopulatedRoom]
) -> None:
    room, elsewhere = house.populate(1, 1)[0], rooms[0]
    owner = room.members[0]
    _id, reader = house.token_of(owner, scopes=["read"], team=room.team)
    _id, bound = house.token_of(owner, scopes=["admin"], team=room.team)
    before = len(house.installation.output)

    refused = [
        house.ask("PATCH", f"/rooms/{room.id}", reader, {"topic": "mine"}),
        house.ask("PATCH", "/me", bound, {"name": "Mine"}),
        house.ask("GET", f"/rooms/{room.id}/stream?after=-1", reader),
        house.ask("GET", f"/rooms/{elsewhere.id}/stream", bound),
        house.ask("PATCH", f"/rooms/{elsewhere.id}", bound, {"topic": "mine"}),
        house.ask("GET", "/nothing/here", bound),
    ]

    assert [answer.status for answer in refused] == [403, 403, 400, 404, 404, 404]
    assert house.installation.output[before:] == ""
    listed = house.ask("GET", f"/teams/{room.team}/audit?action=PATCH", bound).body["items"]
    assert [entry["target"]["id"] for entry in listed] == [None, room.id]
    assert {(entry["refused"], entry["actor"]["id"]) for entry in listed} == {(True, owner.user)}
