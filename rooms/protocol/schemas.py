"""Schemas made from the structs of the wire, so that nothing is described twice."""

from typing import Any

import msgspec

from accounts.api.endpoints import SHARED
from rooms.protocol.commands import AnyCommand
from rooms.protocol.events import AnyEvent, AnyResponse


def wire_schema() -> dict[str, Any]:
    """Return the JSON Schema of every frame of the WebSocket, in both directions."""
    (commands, responses, events), parts = msgspec.json.schema_components(
        [AnyCommand, AnyResponse, AnyEvent], ref_template="#/$defs/{name}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "maru.v1",
        "properties": {"commands": commands, "answers": responses, "events": events},
        "$defs": parts,
    }


def gives(shape: Any, status: int = 200) -> dict[str, Any]:
    """Return what OpenAPI says of an operation that answers with `shape`."""
    content = {"application/json": {"schema": _reference(shape)}}
    return {"responses": {status: {"description": "OK", "content": content}}}


def listed(shape: Any) -> dict[str, Any]:
    """Return what OpenAPI says of an operation that answers with a page of `shape`."""
    said = gives(shape)
    content = said["responses"][200]["content"]["application/json"]
    content["schema"] = {
        "type": "object",
        "required": ["items", "next"],
        "properties": {
            "items": {"type": "array", "items": content["schema"]},
            "next": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
    }
    return said


def streams() -> dict[str, Any]:
    """Return what OpenAPI says of the operation that answers with events as they happen."""
    content = {"text/event-stream": {"schema": {"type": "string"}}}
    words = "Server-Sent Events: `id` is the seq, `data` an event of the schema at /wire.json."
    return {"responses": {200: {"description": words, "content": content}}}


def _reference(shape: Any) -> dict[str, Any]:
    """Return the schema of a shape, whose parts OpenAPI has as components."""
    (schema,), parts = msgspec.json.schema_components(
        [shape], ref_template="#/components/schemas/{name}"
    )
    SHARED.update(parts)
    return schema
