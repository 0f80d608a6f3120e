"""Lines of members to an answer while it is being made."""

import json
import urllib.request
from uuid import uuid4

from tests.live import Frame, Person, PopulatedRoom
from tests.wire.server import UNKNOWN_ID, Server, WireClient

HELD = "TEXT one\nHOLD\nTEXT two"


def steer(server: Server, person: Person, run: str, text: str = "TEXT three") -> str:
    """Steer a run by REST; return the id of the line."""
    posted = server.request("POST", f"/runs/{run}/steer", person, {"text": text})
    assert posted.status == 202, posted.raw
    line: str = posted.body["id"]
    return line


async def held(client: WireClient, room: PopulatedRoom) -> str:
    """Ask the persona that follows a script; return the run when it waits for the release."""
    run = await client.ask(room.id, "tools", HELD)
    await client.event("message.delta", run)
    return run


async def shows(client: WireClient, state: str) -> Frame:
    """Return the first event that shows a line in this state."""
    return await client.find(
        lambda frame: (
            isinstance(frame.get("message"), dict)
            and any(line["state"] == state for line in frame["message"].get("steered", []))
        )
    )


async def test_steered_answer_goes_on_with_another_request(
    server: Server, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client:
        await client.join(room.id)
        run = await held(client, room)

        line = steer(server, member, run)
        accepted = await shows(client, "accepted")
        server.provider.release()
        ended = await client.ended(run)
        messages = [f["message"] for f in client.of_run(run) if f["type"] == "message.completed"]
        started = [f for f in client.of_run(run) if f["type"] == "run.started"]

    (shown,) = accepted["message"]["steered"]
    assert (shown["id"], shown["by"], shown["text"]) == (line, member.user, "TEXT three")
    assert ended["type"] == "run.completed"
    assert messages[0]["text"] == "one two \n\nthree"
    assert [each["state"] for each in messages[0]["steered"]] == ["applied"]
    assert len(started) == 1  # the engine has asked for lines before the answer ended
    last = server.provider.requests[-1].messages
    assert last[-2] == {"role": "assistant", "content": "one two "}
    assert last[-1]["role"] == "user"
    assert last[-1]["content"].endswith("\nTEXT three")


async def test_line_by_the_socket_to_an_answer_that_is_stopped_fails(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client:
        await client.join(room.id)
        run = await held(client, room)

        answered = await client.command("run.steer", run=run, text="shorter")
        await client.command("run.cancel", run=run)
        failed = await shows(client, "failed")
        late = await client.refusal_code("run.steer", run=run, text="too late")
        server.provider.release()

    assert failed["message"]["status"] == "cancelled"
    assert answered["result"]["id"] == failed["message"]["steered"][0]["id"]
    assert late == "conflict"


async def test_people_who_may_not_post_do_not_steer(
    server: Server, owner: Person, member: Person, stranger: Person, room: PopulatedRoom
) -> None:
    path = f"/rooms/{room.id}/members/{member.user}"
    async with server.client(owner) as client:
        await client.join(room.id)
        async with client.asking(room.id, "held-12@15") as run:
            assert server.request("PUT", path, owner, {"role": "reader"}).status == 200
            statuses = [
                server.request("POST", f"/runs/{each}/steer", person, {"text": "x"}).status
                for each, person in ((run, member), (run, stranger), (UNKNOWN_ID, owner))
            ]
            empty = server.request("POST", f"/runs/{run}/steer", owner, {"text": " "})
            long = server.request("POST", f"/runs/{run}/steer", owner, {"text": "x" * 2_001})
        assert server.request("PUT", path, owner, {"role": "member"}).status == 200

    assert statuses == [403, 404, 404]
    assert (empty.status, long.status) == (400, 413)


async def test_repeated_post_steers_once(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client:
        await client.join(room.id)
        async with client.asking(room.id, "held-12@15") as run:
            await client.event("message.delta", run)  # no message shows a line to a queued run
            key = str(uuid4())
            ids = {repeat(server, owner, run, key) for _ in range(2)}
            await shows(client, "accepted")
        stopped = await shows(client, "failed")

    assert {line["id"] for line in stopped["message"]["steered"]} == ids


def repeat(server: Server, person: Person, run: str, key: str) -> str:
    request = urllib.request.Request(
        f"{server.installation.url}/api/v1/runs/{run}/steer",
        method="POST",
        data=b'{"text": "once"}',
        headers={
            "Authorization": f"Bearer {person.token}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        },
    )
    with urllib.request.urlopen(request) as response:
        return str(json.load(response)["id"])
