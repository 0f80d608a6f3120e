"""The contract of the REST API: checks each response against the OpenAPI schema."""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from jsonschema import Draft202012Validator, FormatChecker

Schema = dict[str, Any]
PREFIX = "/api/v1/"

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def _is_time(value: object) -> bool:
    return not isinstance(value, str) or bool(_TIME.fullmatch(value))


def _is_uuid(value: object) -> bool:
    try:
        return not isinstance(value, str) or str(UUID(value)) == value
    except ValueError:
        return False


FORMATS = FormatChecker(formats=())
FORMATS.checks("date-time")(_is_time)
FORMATS.checks("uuid")(_is_uuid)


class Contract:
    """The operations of an OpenAPI schema."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._components = closed(schema["components"])
        self._operations = [
            (method.upper(), re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), operation)
            for path, methods in schema["paths"].items()
            for method, operation in methods.items()
        ]

    def operation(self, method: str, path: str) -> Schema | None:
        """Return the operation of a request; None if the schema has none."""
        for each, pattern, operation in self._operations:
            if each == method and pattern.fullmatch(path):
                found: Schema = operation
                return found
        return None

    def check(
        self, method: str, url: str, status: int, headers: Mapping[str, str], raw: bytes
    ) -> None:
        """Raise unless the schema declares the status, and its schema allows the body."""
        path = urlsplit(url).path
        headers = {name.lower(): value for name, value in headers.items()}
        operation = self.operation(method, path)
        if operation is None:
            assert status in (401, 403, 404, 405, 429, 503), (method, path, status)
            self.validate({"$ref": "#/components/schemas/ErrorBody"}, json.loads(raw))
            return
        responses = {str(code): response for code, response in operation["responses"].items()}
        assert str(status) in responses, f"{method} {path}: {status} is not declared: {raw!r}"
        declared = self.resolved(responses[str(status)])
        if status == 201:
            assert headers["location"].startswith(PREFIX), (method, path)
        if status == 429:
            assert int(headers["retry-after"]) >= 1, (method, path)
        content = declared.get("content", {})
        if not content:
            assert not raw, (method, path, raw)
        elif "application/json" in content:
            self.validate(content["application/json"]["schema"], json.loads(raw))

    def validate(self, schema: Schema, value: Any) -> None:
        """Raise ValidationError unless the schema allows the value."""
        whole = {**closed(schema), "components": self._components}
        Draft202012Validator(whole, format_checker=FORMATS).validate(value)

    def resolved(self, shape: Schema) -> Schema:
        """Return the object that a reference names, or the object itself."""
        while "$ref" in shape:
            target: Any = self.schema
            for part in shape["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            shape = target
        return shape


@cache
def contract() -> Contract:
    """Return the contract of this version of the product."""
    from maru.web.api import api

    return Contract(json.loads(json.dumps(api.get_openapi_schema(), default=str)))


def closed(schema: Any) -> Any:
    """Return the schema with `additionalProperties: false` on every object."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inside = {name: closed(value) for name, value in schema.items()}
    if isinstance(inside.get("properties"), dict) and inside.get("type") == "object":
        inside.setdefault("additionalProperties", False)
    return inside


def checked(request: Callable[..., Any]) -> Callable[..., Any]:
    """Return `Client.request` of Django with a check of each response of the REST API."""

    def wrapped(self: Any, **environment: Any) -> Any:
        response = request(self, **environment)
        path = environment.get("PATH_INFO", "")
        is_page = path in (f"{PREFIX}docs", f"{PREFIX}openapi.json", PREFIX)
        if path.startswith(PREFIX) and not is_page and response.status_code != 500:
            raw = b"" if response.streaming else response.content
            method = environment["REQUEST_METHOD"]
            contract().check(method, path, response.status_code, response.headers, raw)
        return response

    return wrapped
