"""The published schema of the socket, held against what the server really sends."""

from typing import Any

import msgspec
import pytest

from rooms.protocol import commands, events
from rooms.protocol.schemas import wire_schema
from tests.live import Installation, PopulatedRoom


@pytest.fixture(scope="module")
def room(installation: Installation) -> PopulatedRoom:
    return installation.populate(rooms=1, members=2)[0]


def described(part: str) -> dict[str, dict[str, Any]]:
    """Return the properties of each frame of a part of the schema, by its type."""
    schema = wire_schema()
    return {
        schema["$defs"][name.removeprefix("#/$defs/")]["properties"]["type"]["enum"][0]: schema[
            "$defs"
        ][name.removeprefix("#/$defs/")]["properties"]
        for name in schema["properties"][part]["discriminator"]["mapping"].values()
    }


def test_schema_names_every_struct_that_has_a_type() -> None:
    tagged = {
        struct.__struct_config__.tag
        for struct in [*vars(commands).values(), *vars(events).values()]
        if isinstance(struct, type)
        and issubclass(struct, msgspec.Struct)
        and struct.__struct_config__.tag not in {None, struct.__name__}  # not the base classes
    }

    named = {kind for part in ("commands", "answers", "events") for kind in described(part)}

    assert named == tagged


def test_types_of_clients_and_of_the_server_are_apart() -> None:
    commands = set(described("commands"))

    assert commands.isdisjoint(described("events"))
    assert commands.isdisjoint(described("answers"))


async def test_every_frame_is_as_the_schema_says(
    installation: Installation, room: PopulatedRoom
) -> None:
    known = {**described("answers"), **described("events")}
    async with (
        installation.socket(room.members[0]) as mine,
        installation.socket(room.members[1]) as theirs,
    ):
        await mine.join(room.id)
        await theirs.join(room.id)
        await mine.say(room.id, "hello")
        await mine.until_type("run.completed")
        sent = (await mine.say(room.id, "stop me"))["result"]
        await mine.until_type("message.delta")
        await mine.command("run.cancel", run=sent["runs"][0])
        await mine.command("room.leave", room=room.id[:-4] + "0000")
        status, _ = installation.request(
            "PATCH", f"/rooms/{room.id}", room.members[0].token, {"topic": "new"}
        )
        await mine.until_type("room.changed")

    seen = {frame["type"]: frame for frame in mine.frames}
    assert status == 200
    assert len(seen) >= 12
    for kind, frame in seen.items():
        assert set(frame) <= set(known[kind]), kind


def test_served_schema_is_the_one_of_the_code(
    installation: Installation, room: PopulatedRoom
) -> None:
    status, schema = installation.request("GET", "/wire.json", room.members[0].token)

    assert (status, schema) == (200, wire_schema())
