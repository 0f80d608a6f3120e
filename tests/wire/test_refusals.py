"""What is not a command is refused, and harms nobody."""

import random
from typing import Any
from uuid import uuid4

import pytest

from tests.live import Frame, Person, PopulatedRoom
from tests.wire.house import NOWHERE, House, Tab, fresh

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
    {"type": "ping", "ref": "a", "user": NOWHERE},
    {"type": "message.delta", "ref": "a", "room": NOWHERE},
    {"type": "room.removed", "ref": "a", "room": NOWHERE},
    {"type": "websocket.close", "ref": "a"},
    {"type": "websocket.disconnect", "ref": "a", "code": 1000},
    {"type": "command.done", "ref": "a", "result": {}},
]
JUNK: list[Any] = [None, True, 0, -1, 1.5, 2**63, 2**200, "", "x", "\x00", [], [1], {}, {"a": []}]


def commands(room: str) -> list[Frame]:
    """One good command of each kind, but for the ids that are nobody's."""
    return [
        {"type": "room.join", "ref": "a", "room": room, "after": None, "live": {}},
        {"type": "room.leave", "ref": "a", "room": room},
        {
            "type": "message.send",
            "ref": "a",
            "room": room,
            "client_id": fresh(),
            "text": "hello",
            "reply_to": None,
            "personas": [],
        },
        {"type": "run.cancel", "ref": "a", "run": NOWHERE},
        {"type": "run.retry", "ref": "a", "run": NOWHERE},
        {"type": "room.read", "room": room, "seq": 1},
        {"type": "member.type", "room": room},
        {"type": "ping", "ref": "a"},
    ]


async def answer_to(tab: Tab, frame: Any) -> Frame:
    await tab.tell(frame)
    return await tab.until(lambda frame: frame["type"].startswith("command."))


async def is_refused(tab: Tab, frame: Any, ref: str | None) -> None:
    answer = await answer_to(tab, frame)
    assert (answer["type"], answer.get("code")) == ("command.refused", "invalid"), (frame, answer)
    assert answer["ref"] == ref, (frame, answer)


async def test_what_cannot_be_read_is_invalid_and_the_socket_lives(
    house: House, owner: Person
) -> None:
    async with house.tab(owner) as tab:
        for frame in UNREADABLE:
            await is_refused(tab, frame, None)

        assert (await tab.command("ping"))["result"] == {}


async def test_what_can_be_read_in_part_is_refused_with_its_mark(
    house: House, owner: Person
) -> None:
    async with house.tab(owner) as tab:
        for frame in MARKED:
            await is_refused(tab, frame, "a")


async def test_binary_frame_is_invalid_and_the_socket_lives(house: House, owner: Person) -> None:
    async with house.tab(owner) as tab:
        await tab.connection.send(b'{"type":"ping","ref":"a"}')

        answer = await tab.until(lambda frame: frame["type"] == "command.refused")
        assert answer["code"] == "invalid"
        assert (await tab.command("ping"))["type"] == "command.done"


@pytest.mark.parametrize("number", range(8))
async def test_no_field_of_a_command_may_be_missing_foreign_or_of_another_type(
    house: House, owner: Person, room: PopulatedRoom, number: int
) -> None:
    command = commands(room.id)[number]
    ref = command.get("ref")
    async with house.tab(owner) as tab:
        for field in command.keys() - {"type"}:
            less = {key: value for key, value in command.items() if key != field}
            await is_refused(tab, less, None if field == "ref" else ref)
            await is_refused(tab, {**command, field: [{}]}, None if field == "ref" else ref)
        await is_refused(tab, {**command, "team": room.team}, ref)


async def test_fields_that_do_not_apply_are_null_not_left_out(
    house: House, owner: Person, room: PopulatedRoom
) -> None:
    async with house.tab(owner) as tab:
        join = await tab.command("room.join", room=room.id, after=None, live=None)
        send = await tab.say(room.id, "hello", reply_to=None, personas=None)

        assert join["type"] == "room.snapshot"
        assert send["type"] == "command.done"


async def test_detail_of_a_refusal_gives_nothing_away(house: House, owner: Person) -> None:
    async with house.tab(owner) as tab:
        for frame in [*UNREADABLE, *MARKED]:
            detail = (await answer_to(tab, frame))["detail"]
            assert not any(word in detail for word in ("Traceback", "/", "msgspec", "Error"))


async def test_commands_without_a_mark_are_silent_unless_refused(
    house: House, owner: Person, room: PopulatedRoom, stranger: Person
) -> None:
    quiet: list[Frame] = [
        {"type": "room.read", "room": room.id, "seq": 1},
        {"type": "member.type", "room": room.id},
    ]
    async with house.tab(owner) as tab, house.tab(stranger) as outside:
        for command in quiet:
            await tab.tell(command)
            await outside.tell(command)

        await tab.everything_so_far()
        assert len(tab.of_type("command.done", "command.refused")) == 1
        refused = (await outside.everything_so_far())[:-1]
        assert [(frame["ref"], frame["code"]) for frame in refused] == [(None, "not_found")] * 2


async def test_a_thousand_random_commands_leave_the_socket_and_the_room_in_order(
    house: House, owner: Person, room: PopulatedRoom, stranger: Person
) -> None:
    chance = random.Random(7)
    logged = len(house.installation.output)
    async with house.tab(owner) as tab, house.tab(stranger) as outside:
        for _ in range(500):
            command = chance.choice(commands(room.id))
            command[chance.choice(list(command))] = chance.choice([*JUNK, str(uuid4())])
            await tab.tell(command)
            await outside.tell(command)
        before = len(await tab.everything_so_far())
        await outside.everything_so_far()

        assert before > 250
        assert outside.of_room(room.id) == []
        await tab.join(room.id)
        await tab.event("message.created", seq=(await tab.send(room.id, "still here"))["seq"])
    assert "Traceback" not in house.installation.output[logged:]
