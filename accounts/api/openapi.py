"""The OpenAPI descriptions of bodies, generated from their structs."""

from typing import Any, Final

import msgspec

from accounts.api.bodies import CONTENT_TYPE, Body

COMPONENTS: Final[dict[str, Any]] = {}
"""The schema of each struct that an operation refers to, by its name."""


def schema_of(shape: Any) -> dict[str, Any]:
    """Return the schema of a type; add the structs in it to `COMPONENTS`.

    Raises LookupError for a second struct of the same name.
    """
    (schema,), parts = msgspec.json.schema_components(
        [shape], ref_template="#/components/schemas/{name}"
    )
    for name, part in parts.items():
        if COMPONENTS.setdefault(name, part) != part:
            raise LookupError(f"Two structs of the REST API have the name {name}")
    return schema


def describe(body: type[Body] | None, response: Any, status: int) -> dict[str, Any]:
    """Return the description of the body and of the successful response of an operation.

    `response` is a type, None for a response without content, or a finished OpenAPI description.
    """
    described: dict[str, Any] = {}
    if body is not None:
        described["requestBody"] = {"required": True, "content": _json(body)}
    if isinstance(response, dict):
        described["responses"] = {status: response}
    elif response is not None:
        described["responses"] = {status: {"description": "OK", "content": _json(response)}}
    return described


def _json(shape: Any) -> dict[str, Any]:
    return {CONTENT_TYPE: {"schema": schema_of(shape)}}
