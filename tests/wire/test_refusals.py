"""Invalid frames are refused, and the connection and the room stay usable."""

import random
from typing import Any
from uuid import uuid4

import pytest

from tests.live import Frame, Person, PopulatedRoom
from tests.wire.server import UNKNOWN_ID, Server, WireClient, new_client_id

UNREADABLE = [
    "",
    " ",
    "hello",
    "null",
    "7",
    '"ping"',
    "[]",
    '["ping"]',
    "{}",
    '{"type":"ping"',
    '{"type":"ping","ref":"a"}{"type":"ping","ref":"b"}',
    '{"type":null,"ref":null}',
    '{"type":"ping"}',
    '{"type":"ping","ref":null}',
    '{"type":"ping","ref":7}',
    '{"type":"ping","ref":["a"]}',
    '{"type":"ping","ref":"\\ud800"}',
    '{"type":"ping","ref":NaN}',
    "[" * 20_000,
    '{"a":' * 5_000,
]
MARKED: list[Frame] = [
    {"type": "nothing.known", "ref": "a"},
    {"type": "", "ref": "a"},
    {"type": ["ping"], "ref": "a"},
    {"ref": "a"},
    {"type": "PING", "ref": "a"},
    {"type": "ping", "ref": "a", "more": 1},
    {"type": "ping", "ref": "a", "__proto__": {}},
    {"type": "ping", "ref": "a", "user": UNKNOWN_ID},
    {"type": "message.delta", "ref": "a", "room": UNKNOWN_ID},
    {"type": "room.removed", "ref": "a", "room": UNKNOWN_ID},
    {"type": "websocket.close", "ref": "a"},
    {"type": "websocket.disconnect", "ref": "a", "code": 1000},
    {"type": "command.done", "ref": "a", "result": {}},
]
JUNK: list[Any] = [None, True, 0, -1, 1.5, 2**63, 2**200, "", "x", "\x00", [], [1], {}, {"a": []}]


def commands(room: str) -> list[Frame]:
    """Return one valid command of each type, with unknown ids for runs."""
    return [
        {"type": "room.join", "ref": "a", "room": room, "after": None, "live": {}},
        {"type": "room.leave", "ref": "a", "room": room},
        {
            "type": "message.send",
            "ref": "a",
            "room": room,
            "client_id": new_client_id(),
            "text": "hello",
            "reply_to": None,
            "personas": [],
        },
        {"type": "run.cancel", "ref": "a", "run": UNKNOWN_ID},
        {"type": "run.retry", "ref": "a", "run": UNKNOWN_ID},
        {
            "type": "approval.decide",
            "ref": "a",
            "approval": UNKNOWN_ID,
            "decision": "allow",
            "arguments_sha256": "0" * 64,
        },
        {"type": "room.read", "room": room, "seq": 1},
        {"type": "member.type", "room": room},
        {"type": "ping", "ref": "a"},
    ]


async def answer_to(client: WireClient, frame: Any) -> Frame:
    await client.send_raw(frame)
    return await client.until(lambda frame: frame["type"].startswith("command."))


async def is_refused(client: WireClient, frame: Any, ref: str | None) -> None:
    answer = await answer_to(client, frame)
    assert (answer["type"], answer.get("code")) == ("command.refused", "invalid"), (frame, answer)
    assert answer["ref"] == ref, (frame, answer)


async def test_unreadable_frame_is_refused_and_the_connection_stays_open(
    server: Server, owner: Person
) -> None:
    async with server.client(owner) as client:
        for frame in UNREADABLE:
            await is_refused(client, frame, None)

        assert (await client.command("ping"))["result"] == {}


async def test_invalid_command_is_refused_with_its_ref(server: Server, owner: Person) -> None:
    async with server.client(owner) as client:
        for frame in MARKED:
            await is_refused(client, frame, "a")


async def test_refusal_names_every_wrong_field(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client:
        for command in commands(room.id):
            fields = [name for name in command if name not in ("type", "ref")]
            for name in fields:
                lacking = {key: value for key, value in command.items() if key != name}
                for wrong in (lacking, {**command, name: {"no": 1}}, {**command, name: 7.5}):
                    answer = await answer_to(client, wrong)
                    assert {place.partition(".")[0] for place in answer["fields"]} == {name}, wrong
            answer = await answer_to(client, {**command, "more": 1})
            assert answer["fields"] == {"more": "Unknown field"}
        for kind in ({"type": "nothing.known"}, {"type": 7}, {}):
            assert [*(await answer_to(client, {**kind, "ref": "a"}))["fields"]] == ["type"]


async def test_refusals_of_unreadable_and_wrong_frames_are_different_sentences(
    server: Server, owner: Person
) -> None:
    async with server.client(owner) as client:
        frames = ("{", "[]", {"type": "ping", "ref": 7}, {"type": "ping", "ref": "a", "x": 1})
        details = [(await answer_to(client, frame))["detail"] for frame in frames]

        assert len(set(details)) == 4


async def test_binary_frame_is_refused_and_the_connection_stays_open(
    server: Server, owner: Person
) -> None:
    async with server.client(owner) as client:
        await client.connection.send(b'{"type":"ping","ref":"a"}')

        answer = await client.until(lambda frame: frame["type"] == "command.refused")
        assert answer["code"] == "invalid"
        assert (await client.command("ping"))["type"] == "command.done"


@pytest.mark.parametrize("number", range(9))
async def test_command_with_a_missing_unknown_or_wrong_field_is_refused(
    server: Server, owner: Person, room: PopulatedRoom, number: int
) -> None:
    command = commands(room.id)[number]
    ref = command.get("ref")
    async with server.client(owner) as client:
        for field in command.keys() - {"type"}:
            less = {key: value for key, value in command.items() if key != field}
            await is_refused(client, less, None if field == "ref" else ref)
            await is_refused(client, {**command, field: [{}]}, None if field == "ref" else ref)
        await is_refused(client, {**command, "team": room.team}, ref)


async def test_optional_fields_must_be_null(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client:
        join = await client.command("room.join", room=room.id, after=None, live=None)
        send = await client.say(room.id, "hello", reply_to=None, personas=None)

        assert join["type"] == "room.snapshot"
        assert send["type"] == "command.done"


async def test_refusal_detail_contains_no_input(server: Server, owner: Person) -> None:
    async with server.client(owner) as client:
        for frame in [*UNREADABLE, *MARKED]:
            detail = (await answer_to(client, frame))["detail"]
            assert not any(word in detail for word in ("Traceback", "/", "msgspec", "Error"))


async def test_commands_without_ref_get_a_response_only_if_refused(
    server: Server, owner: Person, room: PopulatedRoom, stranger: Person
) -> None:
    quiet: list[Frame] = [
        {"type": "room.read", "room": room.id, "seq": 1},
        {"type": "member.type", "room": room.id},
    ]
    async with server.client(owner) as client, server.client(stranger) as stranger_client:
        for command in quiet:
            await client.send_raw(command)
            await stranger_client.send_raw(command)

        await client.received_so_far()
        assert len(client.of_type("command.done", "command.refused")) == 1
        refused = (await stranger_client.received_so_far())[:-1]
        assert [(frame["ref"], frame["code"]) for frame in refused] == [(None, "not_found")] * 2


async def test_thousand_random_commands_leave_connection_and_room_usable(
    server: Server, owner: Person, room: PopulatedRoom, stranger: Person
) -> None:
    generator = random.Random(7)
    logged = len(server.installation.output)
    async with server.client(owner) as client, server.client(stranger) as stranger_client:
        for _ in range(500):
            command = generator.choice(commands(room.id))
            command[generator.choice(list(command))] = generator.choice([*JUNK, str(uuid4())])
            await client.send_raw(command)
            await stranger_client.send_raw(command)
        before = len(await client.received_so_far())
        await stranger_client.received_so_far()

        assert before > 250
        assert stranger_client.of_room(room.id) == []
        await client.join(room.id)
        await client.event("message.created", seq=(await client.send(room.id, "still here"))["seq"])
    assert "Traceback" not in server.installation.output[logged:]
