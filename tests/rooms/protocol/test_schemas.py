"""The published schema of the WebSocket protocol agrees with the structs and with real frames."""

from typing import Any, get_args

import msgspec
import pytest

from rooms.protocol import commands, events
from rooms.protocol.events import DurableEvent
from rooms.protocol.schemas import wire_schema
from tests.live import Installation, PopulatedRoom


@pytest.fixture(scope="module")
def room(installation: Installation) -> PopulatedRoom:
    return installation.populate(rooms=1, members=2)[0]


def frames(part: str) -> dict[str, dict[str, Any]]:
    """Return the properties of each frame in `commands`, `answers` or `events`, by frame type."""
    schema = wire_schema()
    return {
        schema["$defs"][name.removeprefix("#/$defs/")]["properties"]["type"]["enum"][0]: schema[
            "$defs"
        ][name.removeprefix("#/$defs/")]["properties"]
        for name in schema["properties"][part]["discriminator"]["mapping"].values()
    }


def test_schema_contains_every_struct_with_a_tag() -> None:
    tagged = {
        struct.__struct_config__.tag
        for struct in [*vars(commands).values(), *vars(events).values()]
        if isinstance(struct, type)
        and issubclass(struct, msgspec.Struct)
        and struct.__struct_config__.tag not in {None, struct.__name__}  # not the base classes
    }

    in_schema = {kind for part in ("commands", "answers", "events") for kind in frames(part)}

    assert in_schema == tagged


def test_every_durable_event_has_a_room_and_a_seq() -> None:
    schema = wire_schema()["$defs"]
    durable = {
        each.__name__ for each in get_args(events.AnyEvent) if issubclass(each, DurableEvent)
    }

    assert len(durable) > 20
    for name in durable:
        assert {"room", "seq"} <= set(schema[name]["required"]), name
        assert "default" not in schema[name]["properties"]["seq"]


def test_no_type_is_used_in_both_directions() -> None:
    commands = set(frames("commands"))

    assert commands.isdisjoint(frames("events"))
    assert commands.isdisjoint(frames("answers"))


async def test_every_sent_frame_has_only_fields_of_the_schema(
    installation: Installation, room: PopulatedRoom
) -> None:
    known = {**frames("answers"), **frames("events")}
    async with (
        installation.socket(room.members[0]) as first,
        installation.socket(room.members[1]) as second,
    ):
        await first.join(room.id)
        await second.join(room.id)
        await first.say(room.id, "hello")
        await first.until_type("run.completed")
        sent = (await first.say(room.id, "stop me"))["result"]
        await first.until_type("message.delta")
        await first.command("run.cancel", run=sent["runs"][0])
        await first.command("room.leave", room=room.id[:-4] + "0000")
        status, _ = installation.request(
            "PATCH", f"/rooms/{room.id}", room.members[0].token, {"topic": "new"}
        )
        await first.until_type("room.changed")

    seen = {frame["type"]: frame for frame in first.frames}
    assert status == 200
    assert len(seen) >= 12
    for kind, frame in seen.items():
        assert set(frame) <= set(known[kind]), kind


def test_served_schema_is_generated_from_the_structs(
    installation: Installation, room: PopulatedRoom
) -> None:
    status, schema = installation.request("GET", "/wire.json", room.members[0].token)

    assert (status, schema) == (200, wire_schema())
