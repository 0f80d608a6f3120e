"""The OpenAPI description of an operation: bodies, examples, errors and headers."""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

import msgspec

from accounts.api.bodies import CONTENT_TYPE, YAML_TYPES, Body, ErrorBody
from accounts.api.examples import example_of
from accounts.errors import (
    Conflict,
    DiskFull,
    Forbidden,
    Invalid,
    MaruError,
    NotFound,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

Description = dict[str, Any]

ERRORS: Final[tuple[type[MaruError], ...]] = (
    Invalid,
    Unauthenticated,
    Forbidden,
    NotFound,
    Conflict,
    TooLarge,
    RateLimited,
    Unavailable,
    DiskFull,
)
COMPONENTS: Final[Description] = {}
"""The schema of each struct that an operation refers to, by its name."""


_NOUNS: Final = {"mcp": "mcp_servers"}
"""The nouns of parts of a path that are none."""


def operation_id(method: str, path: str) -> str:
    """Return the id of an operation: `PUT /rooms/{room_id}/members/{member_id}` is put_room_member.

    Every id is the method and the nouns of the path, so that clients can be generated and guessed.
    """
    parts = [_NOUNS.get(part, part) for part in re.sub(r"\.\w+$", "", path).split("/") if part]
    nouns = [
        _singular(part) if _names_one(method, parts[number + 1 :]) else part
        for number, part in enumerate(parts)
        if not part.startswith("{")
    ]
    return "_".join([method.lower(), *nouns])


def _names_one(method: str, rest: list[str]) -> bool:
    """Return True if a noun with this rest of the path names one thing: `/teams/…`, POST /teams."""
    return bool(rest) or method == "POST"


def _singular(noun: str) -> str:
    return noun.removesuffix("s")


def schema_of(shape: Any) -> Description:
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


def describe(
    *,
    parameters: list[Description],
    body: type[Body] | None,
    body_required: bool,
    yaml_field: str,
    response: Any,
    status: int,
    errors: Iterable[type[MaruError]],
) -> Description:
    """Return the description of an operation.

    `response` is a type, None for a response without content, or a finished OpenAPI description.
    The field `yaml_field` of the body, if any, can be sent alone, as YAML.
    """
    success: Description = {"description": _sentence(response)}
    if isinstance(response, dict):
        success = dict(response)
    elif response is not None:
        success["content"] = _json(response)
    names = ["X-Request-Id", "RateLimit", "RateLimit-Policy"]
    if status == HTTPStatus.CREATED:
        names.append("Location")
    success["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    described: Description = {
        "parameters": parameters,
        "responses": {
            status: success,
            **{
                each.status: {"$ref": f"#/components/responses/{each.__name__}"}
                for each in sorted(errors, key=lambda error: error.status)
            },
        },
    }
    if body is not None:
        content = _json(body)
        if yaml_field:
            example = content[CONTENT_TYPE]["example"][yaml_field]
            content[YAML_TYPES[0]] = {"schema": {"type": "string"}, "example": example}
        described["requestBody"] = {"required": body_required, "content": content}
    return described


def error_responses(errors: Iterable[type[MaruError]]) -> Description:
    """Return `components.responses`: the response of each error, by the name of its class."""
    names = ("X-Request-Id", "RateLimit", "RateLimit-Policy", "Retry-After")
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    return {
        each.__name__: {
            "description": str(each.default_detail),
            "headers": headers if each.code == "rate_limited" else {names[0]: headers[names[0]]},
            "content": {
                CONTENT_TYPE: {
                    "schema": schema_of(ErrorBody),
                    "example": {"code": each.code, "detail": str(each.default_detail)},
                }
            },
        }
        for each in errors
    }


HEADERS: Final[Description] = {
    "X-Request-Id": {
        "description": "The id of the request in the server's log.",
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": "The uses that are left (r) and the seconds until the window ends (t), for "
        "each policy that applied: draft-ietf-httpapi-ratelimit-headers.",
        "schema": {"type": "string"},
        "example": '"default";r=599;t=42',
    },
    "RateLimit-Policy": {
        "description": "The uses (q) in a window of w seconds, for each policy that applied.",
        "schema": {"type": "string"},
        "example": '"default";q=600;w=60',
    },
    "Retry-After": {
        "description": "The seconds to wait before the next attempt.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "Location": {
        "description": "The path of the created thing.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
}


def _json(shape: Any) -> Description:
    schema = schema_of(shape)
    return {CONTENT_TYPE: {"schema": schema, "example": example_of(schema, COMPONENTS)}}


def _sentence(response: Any) -> str:
    """Return the first line of the docstring of a struct."""
    text = getattr(response, "__doc__", None) or "Done. The response has no content."
    return str(text).split("\n")[0]
