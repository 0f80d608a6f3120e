"""The JSON Schema of the WebSocket protocol, generated from its structs."""

from typing import Any

import msgspec

from rooms.protocol.commands import AnyCommand
from rooms.protocol.events import UNPLACED, AnyEvent, AnyResponse, CompactDelta


def wire_schema() -> dict[str, Any]:
    """Return the JSON Schema of every frame of the WebSocket, in both directions."""
    (commands, responses, events, delta), parts = msgspec.json.schema_components(
        [AnyCommand, AnyResponse, AnyEvent, CompactDelta], ref_template="#/$defs/{name}"
    )
    require_place(parts)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "maru.v1",
        "properties": {
            "commands": commands,
            "answers": responses,
            "events": events,
            "compact_delta": delta,
        },
        "$defs": parts,
    }


def require_place(parts: dict[str, dict[str, Any]]) -> None:
    """Mark `room` and `seq` of frames as required, in place.

    The structs have defaults for them, because `rooms.event_log.record` sets them; no frame is sent
    without them.
    """
    for part in parts.values():
        fields = part.get("properties", {})
        if fields.get("room", {}).get("default") != str(UNPLACED):
            continue
        for name in ("room", "seq"):
            if "default" in fields.get(name, {}):
                del fields[name]["default"]
                part["required"].append(name)
