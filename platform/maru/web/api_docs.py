"""The browsable reference of the REST API: its OpenAPI schema as a page of ours.

The viewers that ninja knows come from a CDN or bring inline styles; our pages load nothing from
elsewhere, and this one needs no script at all.
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
    """One line of a table: a parameter, or a field of a body."""

    name: str
    kind: str
    required: bool
    words: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    name: str
    words: str
    parameters: list[Field]
    body: list[Field]
    answer_status: str
    answer: list[Field]


class Reference(DocsBase):
    """Renders the schema as HTML."""

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
    status, answer = next(iter(operation["responses"].items()))
    return Operation(
        method=method.upper(),
        path=path,
        name=operation.get("summary", ""),
        words=operation.get("description", ""),
        parameters=[_parameter(parameter) for parameter in operation.get("parameters", [])],
        body=list(_fields(_json_of(operation.get("requestBody", {})), schema)),
        answer_status=str(status),
        answer=list(_fields(_json_of(answer), schema)),
    )


def _parameter(parameter: Schema) -> Field:
    return Field(
        name=parameter["name"],
        kind=_kind(parameter["schema"]),
        required=parameter.get("required", False),
        words=parameter["schema"].get("description", ""),
    )


def _json_of(message: Schema) -> Schema:
    """The schema of a body or an answer; empty where there is none."""
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
    """Say in a word or two what a value is."""
    if "$ref" in shape:
        return str(shape["$ref"]).rpartition("/")[2]
    if "anyOf" in shape:
        return " | ".join(_kind(choice) for choice in shape["anyOf"])
    if "enum" in shape:
        return " | ".join(str(value) for value in shape["enum"])
    if shape.get("type") == "array":
        return f"[{_kind(shape.get('items', {}))}]"
    return str(shape.get("format") or shape.get("type", "any"))
