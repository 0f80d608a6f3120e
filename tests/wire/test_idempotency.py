"""`Idempotency-Key`: a repeated request takes effect once, and permissions are checked again."""

import asyncio
import json
import urllib.error
import urllib.request
from typing import Any

from tests.deadlines import DEADLINE
from tests.live import Person, PopulatedRoom
from tests.wire.server import Response, Server, new_client_id


def post(server: Server, path: str, person: Person, key: str, body: Any = None) -> Response:
    request = urllib.request.Request(f"{server.installation.url}/api/v1{path}", method="POST")
    request.add_header("Authorization", f"Bearer {person.token}")
    request.add_header("Idempotency-Key", key)
    request.data = b"" if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as response:
            answer = Response(response.status, response.read())
    except urllib.error.HTTPError as error:
        with error:
            answer = Response(error.code, error.read())
    server.deliveries.record(person.token, answer.raw)
    return answer


def posted(server: Server, room: PopulatedRoom) -> list[str]:
    listed = server.request("GET", f"/rooms/{room.id}/messages?limit=200", room.members[0]).body
    return [message["text"] for message in listed["items"]]


def test_repeated_post_creates_one_message(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    key, body = new_client_id(), {"text": "only once", "personas": []}
    path = f"/rooms/{room.id}/messages"

    first, again = post(server, path, owner, key, body), post(server, path, owner, key, body)
    other = post(server, path, owner, new_client_id(), body)

    assert first.status == again.status == 201
    assert first.raw == again.raw
    assert other.body["message"]["id"] != first.body["message"]["id"]
    assert posted(server, room).count("only once") == 2


def test_repeated_post_returns_a_deleted_message_without_text(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    key, body = new_client_id(), {"text": "regretted", "personas": []}
    path = f"/rooms/{room.id}/messages"
    first = post(server, path, owner, key, body)
    server.request("DELETE", f"/messages/{first.body['message']['id']}", owner)

    again = post(server, path, owner, key, body)

    assert again.body["message"]["id"] == first.body["message"]["id"]
    assert (again.body["message"]["text"], again.body["message"]["deleted"]) == ("", True)


def test_key_with_another_body_is_a_conflict(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    key, path = new_client_id(), f"/rooms/{room.id}/messages"
    post(server, path, owner, key, {"text": "one", "personas": []})

    assert post(server, path, owner, key, {"text": "two", "personas": []}).code == "conflict"
    assert "two" not in posted(server, room)


def test_key_belongs_to_one_user_and_one_path(
    server: Server, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    key, body = new_client_id(), {"name": "room"}
    path = f"/teams/{room.team}/rooms"

    mine, theirs = post(server, path, owner, key, body), post(server, path, member, key, body)
    token = post(server, "/me/tokens", owner, key, body)

    assert {mine.status, theirs.status, token.status} == {201}
    assert mine.body["id"] != theirs.body["id"]


def test_repeated_token_request_returns_the_same_secret(server: Server, owner: Person) -> None:
    key, body = new_client_id(), {"name": "once"}
    first = post(server, "/me/tokens", owner, key, body)
    again = post(server, "/me/tokens", owner, key, body)

    assert first.raw == again.raw
    listed = server.request("GET", "/me/tokens", owner).body["items"]
    assert [one["id"] for one in listed].count(first.body["id"]) == 1
    assert server.request("GET", "/me", again.body["token"]).status == 200


def test_error_response_is_not_stored(server: Server, owner: Person, room: PopulatedRoom) -> None:
    key, path = new_client_id(), f"/rooms/{room.id}/messages"

    refused = post(server, path, owner, key, {"text": " "})
    assert refused.code == "invalid"
    assert post(server, path, owner, key, {"text": " "}).code == "invalid"
    assert post(server, path, owner, key, {"text": "now", "personas": []}).status == 201


def test_empty_or_too_long_key_is_invalid(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    path, body = f"/rooms/{room.id}/messages", {"text": "x", "personas": []}

    for key in ("", "x" * 256):
        assert post(server, path, owner, key, body).code == "invalid"
    assert post(server, path, owner, "x" * 255, body).status == 201


async def test_concurrent_duplicates_take_effect_once(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    key, body = new_client_id(), {"name": "새 방"}
    path = f"/teams/{room.team}/rooms"
    together = [asyncio.to_thread(post, server, path, owner, key, body) for _ in range(8)]
    answers = await asyncio.gather(*together)

    assert {answer.status for answer in answers} == {201}
    assert len({answer.raw for answer in answers}) == 1


def test_removed_member_gets_not_found_for_a_repeated_request(
    server: Server, rooms: list[PopulatedRoom], room: PopulatedRoom, owner: Person
) -> None:
    person = rooms[2].members[2]
    server.allow(room, person)
    server.request("PUT", f"/rooms/{room.id}/members/{person.user}", owner, {"role": "member"})
    key, body, path = (
        new_client_id(),
        {"text": "hello", "personas": []},
        f"/rooms/{room.id}/messages",
    )
    assert post(server, path, person, key, body).status == 201

    server.request("DELETE", f"/rooms/{room.id}/members/{person.user}", owner)

    assert post(server, path, person, key, body).code == "not_found"


async def test_repeated_retry_creates_one_run(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client:
        await client.join(room.id)
        run = await client.ask(room.id, "fault-401")
        await client.ended(run)
    key, path = new_client_id(), f"/runs/{run}/retry"

    first, again = post(server, path, owner, key), post(server, path, owner, key)

    assert first.status == 201
    assert first.raw == again.raw
