"""A client generated from the OpenAPI schema: its methods are the operations.

It validates every request and response against the schema: an undocumented status, a missing
field and an additional field are errors.
"""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

from jsonschema import Draft202012Validator, FormatChecker

from tests.deadlines import DEADLINE

Schema = dict[str, Any]


class Refused(Exception):
    """An error response in the form that the schema documents."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status, body)
        self.status = status
        self.code: str = body["code"]


class OpenApiClient:
    """`client.post_message(room_id=…, text=…)`: path and query parameters, the rest is body."""

    def __init__(self, server: str, token: str) -> None:
        self._server = server
        self._token = token
        self.schema: Schema = json.loads(self._ask("GET", "/api/v1/openapi.json")[1])
        self._components = closed(self.schema["components"])
        self.operations = {
            operation["operationId"]: (method.upper(), path, operation)
            for path, methods in self.schema["paths"].items()
            for method, operation in methods.items()
        }
        self.used: set[str] = set()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method, path, operation = self.operations[name]

        def call(**values: Any) -> Any:
            self.used.add(name)
            places = {each["name"]: each["in"] for each in operation.get("parameters", [])}
            query = {key: values.pop(key) for key in [*values] if places.get(key) == "query"}
            inside = {key: values.pop(key) for key in [*values] if places.get(key) == "path"}
            address = re.sub(r"\{(\w+)\}", lambda m: quote(str(inside.pop(m[1])), ""), path)
            assert not inside
            body = self._body(operation, values)
            status, raw = self._ask(method, f"{address}?{urlencode(query)}", body)
            return self._read(operation, status, raw)

        return call

    def _body(self, operation: Schema, values: dict[str, Any]) -> bytes | None:
        if "requestBody" not in operation:
            assert not values, values
            return None
        self._check(json_of(operation["requestBody"]), values)
        return json.dumps(values).encode()

    def _read(self, operation: Schema, status: int, raw: bytes) -> Any:
        documented = operation["responses"]
        if status >= 400:
            body = json.loads(raw)
            self._check(json_of(documented["default"]), body)
            raise Refused(status, body)
        if status == 204:
            assert "204" in documented
            assert not raw
            return None
        body = json.loads(raw)
        self._check(json_of(documented[str(status)]), body)
        return body

    def _check(self, schema: Schema, value: Any) -> None:
        whole = {**closed(schema), "components": self._components}
        Draft202012Validator(whole, format_checker=FormatChecker()).validate(value)

    def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self._server + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()


def json_of(message: Schema) -> Schema:
    schema: Schema = message["content"]["application/json"]["schema"]
    return schema


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
