"""Personas that ask people, from the question to the answer of the run."""

import json
from typing import Any

import pytest

from tests.live import Person, PopulatedRoom
from tests.wire.server import UNKNOWN_ID, Server, WireClient
from tests.wire.shapes import QUESTION, check


@pytest.fixture(scope="module", autouse=True)
def _may_ask(server: Server, team_rooms: list[PopulatedRoom], rooms: list[PopulatedRoom]) -> None:
    """Allow the persona that follows a script to ask people."""
    admin, team = team_rooms[0].members[0], team_rooms[0].team
    tools = server.request("GET", f"/teams/{team}/tools", admin).body["items"]
    (tool,) = [each["id"] for each in tools if each["name"] == "ask_people"]
    listed = server.request("GET", f"/teams/{team}/personas?limit=200", admin).body["items"]
    (persona,) = [each["id"] for each in listed if each["handle"] == "tools"]
    body = {"tools": [{"tool": tool, "policy": "always"}]}
    put = server.request("PUT", f"/personas/{persona}/tools", admin, body)
    assert put.status == 200, put.raw


async def ask(client: WireClient, room: PopulatedRoom, **arguments: Any) -> dict[str, Any]:
    """Let the persona ask people; return the question when the run waits."""
    script = f"USE ask_people {json.dumps({'question': 'Which day?', **arguments})}"
    run = await client.ask(room.id, "tools", script)
    await client.event("run.waiting", run)
    frame = await client.find(
        lambda frame: frame["type"] == "question.asked" and frame["question"]["run"] == run
    )
    question: dict[str, Any] = frame["question"]
    return question


async def test_answer_of_the_asker_reaches_the_model(
    server: Server, owner: Person, member: Person, stranger: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client:
        await client.join(room.id)
        question = await ask(client, room, choices=["Monday", "Friday"])
        path = f"/questions/{question['id']}"

        state = (await client.join(room.id))["state"]
        mine = server.request("GET", "/questions", owner).body["items"]
        theirs = server.request("GET", "/questions", member).body["items"]
        refused = [
            server.request("POST", f"{path}/answer", person, {"choice": "Friday"}).status
            for person in (member, stranger)
        ]
        answered = await client.command("question.answer", question=question["id"], choice="Friday")
        again = server.request("POST", f"{path}/answer", owner, {"choice": "Monday"})
        ended = await client.ended(question["run"])
        completed = await client.event("message.completed", question["run"])
        stored = server.request("GET", path, member).body

    assert question["asked_of"] == [owner.user]
    assert state["questions"] == [question]
    assert mine == [question | {"room": room.id}]
    assert theirs == []
    assert refused == [403, 404]
    assert answered["result"] == {"state": "answered"}
    assert again.status == 409
    assert ended["type"] == "run.completed"
    assert '"answer": "Friday"' in completed["message"]["text"]
    (step,) = completed["message"]["steps"]
    assert (step["call"], step["state"], step["result"]) == (question["id"], "done", "1 answer")
    assert (stored.pop("room"), stored["state"]) == (room.id, "answered")
    check(QUESTION, stored)
    assert [each["text"] for each in stored["answers"]] == ["Friday"]


async def test_question_to_the_room_waits_for_all_until_it_is_closed(
    server: Server, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client:
        await client.join(room.id)
        question = await ask(client, room, to="room")
        path = f"/questions/{question['id']}"

        posted = server.request("POST", f"{path}/answer", member, {"text": "Friday?"})
        forbidden = server.request("POST", f"{path}/close", member)
        unknown = server.request("POST", f"/questions/{UNKNOWN_ID}/close", owner)
        closed = server.request("POST", f"{path}/close", owner)
        completed = await client.event("message.completed", question["run"])

    assert question["asked_of"][0] == owner.user
    assert set(question["asked_of"]) == {person.user for person in room.members}
    assert posted.body == {"id": question["id"], "state": "open"}
    assert (forbidden.status, unknown.status) == (403, 404)
    assert closed.body == {"id": question["id"], "state": "answered"}
    assert '"people_without_an_answer": 3' in completed["message"]["text"]


async def test_stop_withdraws_the_question(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client:
        await client.join(room.id)
        question = await ask(client, room)

        await client.command("run.cancel", run=question["run"])
        withdrawn = await client.event("question.answered")
        late = await client.refusal_code("question.answer", question=question["id"], text="late")

    assert withdrawn["question"]["state"] == "withdrawn"
    assert late == "conflict"


async def test_waiting_answer_is_steered(
    server: Server, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client:
        await client.join(room.id)
        question = await ask(client, room)

        server.request("POST", f"/runs/{question['run']}/steer", member, {"text": "TEXT hurry"})
        await client.command("question.answer", question=question["id"], text="Friday")
        completed = await client.event("message.completed", question["run"])

    (line,) = completed["message"]["steered"]
    assert (line["state"], line["after"]) == ("applied", 1)
    assert server.provider.requests[-1].messages[-1]["content"].endswith("\nTEXT hurry")
