"""Examples of bodies for the OpenAPI schema, made from the schema of the body."""

from collections.abc import Mapping
from typing import Any, Final

_TEXTS: Final[Mapping[str, Any]] = {
    "action": "room.created",
    "agents": "scribe:\n  role: Scribe\n  goal: Summarise what was decided.\n",
    "arguments": '{"words": "paper lanterns"}',
    "arguments_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "backstory": "Keeps the minutes of a small workshop.",
    "base_url": "https://api.example.com/v1",
    "by_name": "Nari",
    "call": "call_0",
    "changed": "goal",
    "choice": "Week 49",
    "choices": "Week 49",
    "client_id": "maru-of-our-team",
    "client_secret": "the secret that the server has issued",
    "code": "provider_unavailable",
    "content": "[person Nari]\nHello, everyone.",
    "cost": "0.0123",
    "currency": "USD",
    "description": "Find a file by its name.",
    "detail": "The provider did not answer. Try again in a moment.",
    "email": "nari@example.com",
    "goal": "Summarise what was decided.",
    "handle": "nari",
    "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "hint": "x7Qk",
    "html": "<p>Hello, everyone.</p>",
    "id": "call_0",
    "instructions": "Answer in three sentences.",
    "ip": "192.0.2.7",
    "headers": "X-Api-Key",
    "key": "the key that the provider has issued",
    "kind": "room",
    "model": "gpt-4o-mini",
    "models": "gpt-4o-mini",
    "name": "Nari",
    "next": "01980c4e-7a00-7000-8000-000000000001",
    "note": "The second step is missing.",
    "persona": "Garam",
    "problem": "The server cannot be reached. Check the address and the port.",
    "prev_hash": "0000000000000000000000000000000000000000000000000000000000000000",
    "reason": "persona_off",
    "result": "3 results",
    "role": "Scribe",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "short": "3 results",
    "shown": "Lanterns are in the second cupboard.",
    "tasks": "minutes:\n  description: Write the minutes.\n  agent: scribe\n",
    "text": "Hello, everyone.",
    "title": "Find a file",
    "token": "maru_…",
    "tool": "search_room",
    "topic": "What we make next",
    "url": "https://maru.example.com/invitations/…/",
}
"""The example of a text, by the name of its field."""
PLAIN: Final = "text"
_UUID_EXAMPLE: Final = "01980c4e-7a00-7000-8000-000000000000"
_TIME_EXAMPLE: Final = "2030-01-31T09:00:00.000Z"


def example_of(schema: Mapping[str, Any], components: Mapping[str, Any], name: str = "") -> Any:
    """Return a value that is valid for a schema.

    `components` are the schemas that it refers to, `name` is the name of its field.
    """
    if "$ref" in schema:
        return example_of(components[schema["$ref"].rpartition("/")[2]], components, name)
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0], components, name)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        fields = schema.get("properties", {})
        return {field: example_of(shape, components, field) for field, shape in fields.items()}
    if kind == "array":
        return [example_of(schema["items"], components, name)]
    return _simple(schema, name)


def _simple(schema: Mapping[str, Any], name: str) -> Any:
    match schema.get("type"):
        case "string":
            formats = {"uuid": _UUID_EXAMPLE, "date-time": _TIME_EXAMPLE}
            return formats.get(schema.get("format", "")) or _TEXTS.get(name, PLAIN)
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return False
    return None
