"""`Idempotency-Key`: whatever is sent again happens once, for whoever may still do it."""

import asyncio
import json
import urllib.error
import urllib.request
from typing import Any

from tests.deadlines import DEADLINE
from tests.live import Person, PopulatedRoom
from tests.wire.house import Answer, House, fresh


def post(house: House, path: str, person: Person, key: str, body: Any = None) -> Answer:
    request = urllib.request.Request(f"{house.installation.url}/api/v1{path}", method="POST")
    request.add_header("Authorization", f"Bearer {person.token}")
    request.add_header("Idempotency-Key", key)
    request.data = b"" if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as response:
            answer = Answer(response.status, response.read())
    except urllib.error.HTTPError as error:
        with error:
            answer = Answer(error.code, error.read())
    house.ledger.note(person.token, answer.raw)
    return answer


def said(house: House, room: PopulatedRoom) -> list[str]:
    listed = house.ask("GET", f"/rooms/{room.id}/messages?limit=200", room.members[0]).body
    return [message["text"] for message in listed["items"]]


def test_message_is_said_once(house: House, owner: Person, room: PopulatedRoom) -> None:
    key, body = fresh(), {"text": "only once", "personas": []}
    path = f"/rooms/{room.id}/messages"

    first, again = post(house, path, owner, key, body), post(house, path, owner, key, body)
    other = post(house, path, owner, fresh(), body)

    assert first.status == again.status == 201
    assert first.raw == again.raw
    assert other.body["message"]["id"] != first.body["message"]["id"]
    assert said(house, room).count("only once") == 2


def test_answer_of_a_deleted_message_is_not_told_again(
    house: House, owner: Person, room: PopulatedRoom
) -> None:
    key, body = fresh(), {"text": "regretted", "personas": []}
    path = f"/rooms/{room.id}/messages"
    first = post(house, path, owner, key, body)
    house.ask("DELETE", f"/messages/{first.body['message']['id']}", owner)

    again = post(house, path, owner, key, body)

    assert again.body["message"]["id"] == first.body["message"]["id"]
    assert (again.body["message"]["text"], again.body["message"]["deleted"]) == ("", True)


def test_same_key_with_another_body_is_a_conflict(
    house: House, owner: Person, room: PopulatedRoom
) -> None:
    key, path = fresh(), f"/rooms/{room.id}/messages"
    post(house, path, owner, key, {"text": "one", "personas": []})

    assert post(house, path, owner, key, {"text": "two", "personas": []}).code == "conflict"
    assert "two" not in said(house, room)


def test_key_is_of_one_person_and_one_path(
    house: House, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    key, body = fresh(), {"name": "room"}
    path = f"/teams/{room.team}/rooms"

    mine, theirs = post(house, path, owner, key, body), post(house, path, member, key, body)
    token = post(house, "/me/tokens", owner, key, body)

    assert {mine.status, theirs.status, token.status} == {201}
    assert mine.body["id"] != theirs.body["id"]


def test_token_is_made_once_and_its_secret_told_again(house: House, owner: Person) -> None:
    key, body = fresh(), {"name": "once"}
    first = post(house, "/me/tokens", owner, key, body)
    again = post(house, "/me/tokens", owner, key, body)

    assert first.raw == again.raw
    listed = house.ask("GET", "/me/tokens", owner).body["items"]
    assert [one["id"] for one in listed].count(first.body["id"]) == 1
    assert house.ask("GET", "/me", again.body["token"]).status == 200


def test_refusal_is_not_kept(house: House, owner: Person, room: PopulatedRoom) -> None:
    key, path = fresh(), f"/rooms/{room.id}/messages"

    refused = post(house, path, owner, key, {"text": " "})
    assert refused.code == "invalid"
    assert post(house, path, owner, key, {"text": " "}).code == "invalid"
    assert post(house, path, owner, key, {"text": "now", "personas": []}).status == 201


def test_key_of_nonsense_is_invalid(house: House, owner: Person, room: PopulatedRoom) -> None:
    path, body = f"/rooms/{room.id}/messages", {"text": "x", "personas": []}

    for key in ("", "x" * 256):
        assert post(house, path, owner, key, body).code == "invalid"
    assert post(house, path, owner, "x" * 255, body).status == 201


async def test_duplicates_at_once_happen_once(
    house: House, owner: Person, room: PopulatedRoom
) -> None:
    key, body = fresh(), {"name": "새 방"}
    path = f"/teams/{room.team}/rooms"
    together = [asyncio.to_thread(post, house, path, owner, key, body) for _ in range(8)]
    answers = await asyncio.gather(*together)

    assert {answer.status for answer in answers} == {201}
    assert len({answer.raw for answer in answers}) == 1


def test_who_is_removed_is_not_told_again(
    house: House, rooms: list[PopulatedRoom], room: PopulatedRoom, owner: Person
) -> None:
    person = rooms[2].members[2]
    house.expect_in(room, person)
    house.ask("PUT", f"/rooms/{room.id}/members/{person.user}", owner, {"role": "member"})
    key, body, path = fresh(), {"text": "hello", "personas": []}, f"/rooms/{room.id}/messages"
    assert post(house, path, person, key, body).status == 201

    house.ask("DELETE", f"/rooms/{room.id}/members/{person.user}", owner)

    assert post(house, path, person, key, body).code == "not_found"


async def test_run_is_retried_once(house: House, owner: Person, room: PopulatedRoom) -> None:
    async with house.tab(owner) as tab:
        await tab.join(room.id)
        run = await tab.ask(room.id, "fault-401")
        await tab.ended(run)
    key, path = fresh(), f"/runs/{run}/retry"

    first, again = post(house, path, owner, key), post(house, path, owner, key)

    assert first.status == 201
    assert first.raw == again.raw
