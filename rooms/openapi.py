"""Schemas made from the structs of the wire, so that nothing is described twice."""

from typing import Any

import msgspec

from rooms.events import AnyAnswer, AnyCommand, AnyEvent


def wire_schema() -> dict[str, Any]:
    """Return the JSON Schema of every frame of the socket, in both directions."""
    (commands, answers, events), parts = msgspec.json.schema_components(
        [AnyCommand, AnyAnswer, AnyEvent], ref_template="#/$defs/{name}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "maru.v1",
        "properties": {"commands": commands, "answers": answers, "events": events},
        "$defs": parts,
    }


def gives(shape: Any, status: int = 200) -> dict[str, Any]:
    """Return what OpenAPI says of an operation that answers with `shape`."""
    (schema,), parts = msgspec.json.schema_components([shape], ref_template="{name}")
    content = {"application/json": {"schema": _inline(schema, parts)}}
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
            "next": {"type": ["string", "null"]},
        },
    }
    return said


def _inline(schema: Any, parts: dict[str, Any]) -> Any:
    """Return the schema with each part in its place: OpenAPI knows ours by no name."""
    if isinstance(schema, list):
        return [_inline(each, parts) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inline(parts[schema["$ref"]], parts)
    return {name: _inline(value, parts) for name, value in schema.items()}
