"""Sending messages: idempotency, limits, order, and which personas answer."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.live import Person, PopulatedRoom
from tests.wire.server import UNKNOWN_ID, Server, WireClient, new_client_id
from tests.wire.shapes import MESSAGE, check

LONGEST = 16_000


@pytest.fixture
async def client(server: Server, owner: Person, room: PopulatedRoom) -> AsyncIterator[WireClient]:
    async with server.client(owner) as opened:
        await opened.join(room.id)
        yield opened


async def policy(server: Server, room: PopulatedRoom, **answers: str | None) -> None:
    done = server.request("PATCH", f"/rooms/{room.id}", room.members[0], answers)
    assert done.status == 200, done.raw


async def responders(client: WireClient, room: str, text: str, **fields: object) -> list[str]:
    """Post a message and return the names of the personas that answer it."""
    runs = (await client.send(room, text, **{"personas": None, **fields}))["runs"]
    names = {persona: name for name, persona in client.personas.items()}
    return [names[(await client.ended(run))["run"]["persona"]] for run in runs]


async def test_result_comes_after_the_commit(
    server: Server, client: WireClient, owner: Person, room: PopulatedRoom
) -> None:
    sent = await client.send(room.id, "마루에 앉아 Ω 👩‍👩‍👧 <b>& \u202e")
    kept = server.request("GET", f"/messages/{sent['message']}", owner)
    delivered = await client.event("message.created", seq=sent["seq"])

    assert kept.status == 200
    check(MESSAGE, kept.body)
    assert kept.body == delivered["message"]
    assert kept.body["text"] == "마루에 앉아 Ω 👩‍👩‍👧 <b>& \u202e"
    assert kept.body["author"]["kind"] == "user"
    assert kept.body["author"]["id"] == owner.user
    assert (kept.body["status"], kept.body["run"]) == ("complete", None)
    assert sent["runs"] == []


async def test_repeated_client_id_creates_one_message_and_one_run(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as one, server.client(owner) as two:
        snapshot = await one.join(room.id)
        once: dict[str, object] = {"client_id": new_client_id(), "personas": [one.personas["echo"]]}
        answers = await asyncio.gather(
            *(repeat(client, room.id, once, 25) for client in (one, two))
        )
        late = await two.send(room.id, "said once", **once)
        (run,) = late["runs"]
        await one.ended(run)
        frames = await one.received_so_far()

    assert all(answer == late for answers_of in answers for answer in answers_of)
    created = [frame for frame in frames if frame["type"] == "message.created"]
    assert [frame["message"]["run"] for frame in created] == [None, run]
    assert snapshot["seq"] < late["seq"]


async def repeat(
    client: WireClient, room: str, once: dict[str, object], times: int
) -> list[object]:
    return [await client.send(room, "said once", **once) for _ in range(times)]


async def test_client_id_is_shared_by_command_and_rest(
    server: Server, client: WireClient, owner: Person, room: PopulatedRoom
) -> None:
    client_id = new_client_id()
    sent = await client.send(room.id, "either way", client_id=client_id)
    body = {"text": "either way", "client_id": client_id, "personas": []}
    server.request("POST", f"/rooms/{room.id}/messages", owner, body)
    newest = server.request("GET", f"/rooms/{room.id}/messages?limit=1", owner).body["items"]

    assert newest[0]["id"] == sent["message"]


async def test_client_id_is_scoped_to_user_and_room(
    server: Server,
    client: WireClient,
    member: Person,
    room: PopulatedRoom,
    rooms: list[PopulatedRoom],
) -> None:
    client_id = new_client_id()
    mine = await client.send(room.id, "mine", client_id=client_id)
    async with server.client(member) as other, server.client(rooms[1].members[0]) as outside:
        theirs = await other.send(room.id, "theirs", client_id=client_id)
        outside_message = await outside.send(rooms[1].id, "there", client_id=client_id)

    assert len({mine["message"], theirs["message"], outside_message["message"]}) == 3


@pytest.mark.parametrize("letter", ["a", "마", "👍"])
async def test_message_may_have_sixteen_thousand_code_points(
    server: Server, client: WireClient, owner: Person, room: PopulatedRoom, letter: str
) -> None:
    sent = await client.send(room.id, letter * LONGEST)
    over = await client.say(room.id, letter * (LONGEST + 1), personas=[])
    by_rest = server.request(
        "POST", f"/rooms/{room.id}/messages", owner, {"text": letter * (LONGEST + 1)}
    )

    kept = server.request("GET", f"/messages/{sent['message']}", owner)
    assert kept.body["text"] == letter * LONGEST
    assert over["code"] == "too_large"
    assert by_rest.code == "too_large"


async def test_blank_text_is_invalid(client: WireClient, room: PopulatedRoom) -> None:
    for text in ("", "   ", "\n\t"):
        assert await client.refusal_code("message.send", **words(room.id, text)) == "invalid"


async def test_lone_surrogate_is_invalid(client: WireClient, room: PopulatedRoom) -> None:
    await client.send_raw(
        f'{{"type":"message.send","ref":"half","room":"{room.id}","client_id":"{new_client_id()}",'
        '"text":"\\ud800","reply_to":null,"personas":[]}'
    )

    answer = await client.find(lambda frame: frame["type"] == "command.refused")
    assert answer["code"] == "invalid"


def words(room: str, text: str, **fields: object) -> dict[str, object]:
    blank: dict[str, object] = {"client_id": new_client_id(), "reply_to": None, "personas": []}
    return {"room": room, "text": text, **blank, **fields}


async def test_foreign_reply_or_persona_is_not_found(
    server: Server,
    client: WireClient,
    room: PopulatedRoom,
    rooms: list[PopulatedRoom],
    foreign: PopulatedRoom,
) -> None:
    async with (
        server.client(rooms[1].members[0]) as outside,
        server.client(foreign.members[0]) as foreign_client,
    ):
        outside_message = (await outside.send(rooms[1].id, "there"))["message"]
        foreign_message = (await foreign_client.send(foreign.id, "yonder"))["message"]
        (theirs,) = (await foreign_client.join(foreign.id))["state"]["personas"]
    unbound = client.personas["fault-401"]
    server.request("DELETE", f"/rooms/{room.id}/personas/{unbound}", room.members[0])

    wrong: list[dict[str, object]] = [
        {"reply_to": one} for one in (UNKNOWN_ID, outside_message, foreign_message)
    ]
    wrong += [{"personas": [one]} for one in (UNKNOWN_ID, theirs["id"], unbound)]
    wrong += [{"personas": [client.personas["echo"], UNKNOWN_ID]}]
    answers = [await client.command("message.send", **words(room.id, "x", **one)) for one in wrong]
    server.request("PUT", f"/rooms/{room.id}/personas/{unbound}", room.members[0])

    assert {answer.get("code") for answer in answers} == {"not_found"}
    assert len({answer["detail"] for answer in answers}) == 1


async def test_reply_is_kept(
    server: Server, client: WireClient, owner: Person, room: PopulatedRoom
) -> None:
    first = (await client.send(room.id, "first"))["message"]
    second = (await client.send(room.id, "second", reply_to=first))["message"]

    assert server.request("GET", f"/messages/{second}", owner).body["reply_to"] == first


async def test_permissions_are_checked_before_the_text(
    server: Server, rooms: list[PopulatedRoom], room: PopulatedRoom, stranger: Person
) -> None:
    reader = room.members[3]
    server.request(
        "PUT", f"/rooms/{room.id}/members/{reader.user}", room.members[0], {"role": "reader"}
    )
    too_long = words(room.id, "x" * (LONGEST + 1), reply_to=UNKNOWN_ID)
    async with server.client(stranger) as stranger_client, server.client(reader) as reading:
        assert await stranger_client.refusal_code("message.send", **too_long) == "not_found"
        assert await reading.refusal_code("message.send", **too_long) == "forbidden"
        assert await reading.refusal_code("message.send", **words(room.id, "hello")) == "forbidden"


async def test_all_members_receive_messages_in_one_order(
    server: Server, rooms: list[PopulatedRoom]
) -> None:
    room = rooms[3]
    async with (
        server.client(room.members[0]) as a,
        server.client(room.members[1]) as b,
        server.client(room.members[2]) as c,
    ):
        clients = (a, b, c)
        for client in clients:
            await client.join(room.id)
        sent = await asyncio.gather(*(post_many(client, room.id, 15) for client in clients))
        for client in clients:
            await client.event("message.created", seq=max(max(seqs) for seqs in sent))
        orders = [
            [(f["seq"], f["message"]["id"]) for f in client.of_room(room.id) if "message" in f]
            for client in clients
        ]

    assert orders[0] == orders[1] == orders[2]
    assert orders[0] == sorted(orders[0])
    assert len(orders[0]) == 45
    assert all(seqs == sorted(seqs) for seqs in sent)


async def post_many(client: WireClient, room: str, times: int) -> list[int]:
    return [(await client.send(room, f"message {n}"))["seq"] for n in range(times)]


async def test_default_policy_selects_default_or_mentioned_personas(
    server: Server, room: PopulatedRoom, client: WireClient
) -> None:
    assert await responders(client, room.id, "hello") == ["echo"]
    assert await responders(client, room.id, "@canary hello") == ["canary"]
    assert sorted(await responders(client, room.id, "@canary and @echo")) == ["canary", "echo"]
    assert await responders(client, room.id, "hello", personas=[]) == []
    named = [client.personas["canary"]]
    assert await responders(client, room.id, "hello @echo", personas=named) == ["canary"]

    await policy(server, room, default_persona=client.personas["canary"])
    assert await responders(client, room.id, "hello") == ["canary"]
    await policy(server, room, default_persona=None)


async def test_answer_policy_selects_the_answering_personas(
    server: Server, room: PopulatedRoom, client: WireClient
) -> None:
    await policy(server, room, answer_policy="mention")
    assert await responders(client, room.id, "hello") == []
    assert await responders(client, room.id, "hello @echo") == ["echo"]

    await policy(server, room, answer_policy="thread")
    asked = await client.send(room.id, "hello @echo", personas=None)
    answer = (await client.ended(asked["runs"][0]))["run"]["answer"]
    assert await responders(client, room.id, "and then?", reply_to=answer) == ["echo"]
    assert await responders(client, room.id, "hello") == []

    await policy(server, room, answer_policy="off")
    assert await responders(client, room.id, "hello @echo") == []
    await policy(server, room, answer_policy="default")


async def test_answer_tells_why_the_persona_was_asked(
    server: Server, room: PopulatedRoom, client: WireClient
) -> None:
    async def why(text: str, **fields: object) -> str:
        sent = await client.send(room.id, text, **{"personas": None, **fields})
        answer = (await client.ended(sent["runs"][0]))["run"]["answer"]
        body = server.request("GET", f"/messages/{answer}", room.members[0]).body
        check(MESSAGE, body)
        answers.append(answer)
        return str(body["why"])

    answers: list[str] = []
    assert await why("hello") == "policy"
    assert await why("@canary hello") == "mention"
    assert await why("hello", personas=[client.personas["canary"]]) == "named"
    assert await why("and then?", reply_to=answers[1]) == "reply"
    assert await responders(client, room.id, "and then?", reply_to=answers[1]) == ["canary"]


async def test_muted_persona_answers_only_if_it_is_named_or_mentioned(
    server: Server, room: PopulatedRoom, client: WireClient
) -> None:
    async def mute(*, muted: bool) -> list[str]:
        path = f"/rooms/{room.id}/personas/{client.personas['echo']}"
        done = server.request("PUT", path, room.members[0], {"muted": muted})
        assert done.status == 204
        body = server.request("GET", f"/rooms/{room.id}", room.members[0]).body
        return list(body["muted_personas"])

    assert await mute(muted=True) == [client.personas["echo"]]
    asked = await client.send(room.id, "@echo hello", personas=None)
    answer = (await client.ended(asked["runs"][0]))["run"]["answer"]
    assert await responders(client, room.id, "and then?", reply_to=answer) != ["echo"]
    named = [client.personas["echo"]]
    assert await responders(client, room.id, "hello", personas=named) == ["echo"]
    assert await mute(muted=False) == []
