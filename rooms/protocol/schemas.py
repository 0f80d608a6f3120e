"""The JSON Schema of the WebSocket protocol, generated from its structs."""

from typing import Any

import msgspec

from rooms.protocol.commands import AnyCommand
from rooms.protocol.events import AnyEvent, AnyResponse, CompactDelta


def wire_schema() -> dict[str, Any]:
    """Return the JSON Schema of every frame of the WebSocket, in both directions."""
    (commands, responses, events, delta), parts = msgspec.json.schema_components(
        [AnyCommand, AnyResponse, AnyEvent, CompactDelta], ref_template="#/$defs/{name}"
    )
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
