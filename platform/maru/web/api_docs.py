"""The reference page of the REST API: its OpenAPI schema, rendered as HTML without scripts.

The viewers of ninja are loaded from a CDN or use inline styles, and the Content Security Policy of
our pages forbids both.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from ninja import NinjaAPI
from ninja.openapi.docs import DocsBase

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """A row of a table: a parameter, or a field of a body."""

    name: str
    kind: str
    required: bool
    description: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation: one method of one path."""

    method: str
    path: str
    summary: str
    description: str
    parameters: list[Field]
    body: list[Field]
    response_status: str
    response: list[Field]


class Reference(DocsBase):
    """Renders the schema as an HTML page."""

    def render_page(self, request: HttpRequest, api: NinjaAPI, **kwargs: Any) -> HttpResponse:
        schema = api.get_openapi_schema()
        page = {
            "groups": _by_tag(schema),
            "openapi_url": self.get_openapi_url(api, kwargs),
            "version": api.version,
        }
        return render(request, "maru/api_docs.html", page)


def _by_tag(schema: Schema) -> dict[str, list[Operation]]:
    groups: dict[str, list[Operation]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["other"])[0]
            groups.setdefault(tag, []).append(_operation(path, method, operation, schema))
    return groups


def _operation(path: str, method: str, operation: Schema, schema: Schema) -> Operation:
    status, response = next(iter(operation["responses"].items()))
    return Operation(
        method=method.upper(),
        path=path,
        summary=operation.get("summary", ""),
        description=operation.get("description", ""),
        parameters=[_parameter(parameter) for parameter in operation.get("parameters", [])],
        body=list(_fields(_json_schema(operation.get("requestBody", {})), schema)),
        response_status=str(status),
        response=list(_fields(_json_schema(response), schema)),
    )


def _parameter(parameter: Schema) -> Field:
    return Field(
        name=parameter["name"],
        kind=_kind(parameter["schema"]),
        required=parameter.get("required", False),
        description=parameter["schema"].get("description", ""),
    )


def _json_schema(message: Schema) -> Schema:
    """Return the schema of a JSON body or response; an empty schema if there is none."""
    content: Schema = message.get("content", {}).get("application/json", {})
    found: Schema = content.get("schema", {})
    return found


def _fields(shape: Schema, schema: Schema) -> Iterator[Field]:
    shape = _resolved(shape, schema)
    for name, field in shape.get("properties", {}).items():
        required = name in shape.get("required", [])
        yield Field(name, _kind(field), required, field.get("description", ""))


def _resolved(shape: Schema, schema: Schema) -> Schema:
    name = shape.get("$ref", "").rpartition("/")[2]
    found: Schema = schema["components"]["schemas"][name] if name else shape
    return found


def _kind(shape: Schema) -> str:
    """Return a short name of a type: `uuid`, `[RoomBody]`, `private | team`."""
    if "$ref" in shape:
        return str(shape["$ref"]).rpartition("/")[2]
    if "anyOf" in shape:
        return " | ".join(_kind(choice) for choice in shape["anyOf"])
    if "enum" in shape:
        return " | ".join(str(value) for value in shape["enum"])
    if shape.get("type") == "array":
        return f"[{_kind(shape.get('items', {}))}]"
    return str(shape.get("format") or shape.get("type", "any"))
