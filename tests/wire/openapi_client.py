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

from tests.deadlines import DEADLINE
from tests.openapi import Contract, Schema

SCHEMA = "/api/v1/openapi.json"


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
        self.schema: Schema = json.loads(self._ask("GET", SCHEMA)[1])
        self.contract = Contract(self.schema)
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
            if status >= 400:
                raise Refused(status, json.loads(raw))
            return json.loads(raw) if raw else None

        return call

    def _body(self, operation: Schema, values: dict[str, Any]) -> bytes | None:
        if "requestBody" not in operation:
            assert not values, values
            return None
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        self.contract.validate(schema, values)
        return json.dumps(values).encode()

    def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self._server + path, body, headers, method=method)
        try:
            response = urllib.request.urlopen(request, timeout=DEADLINE)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            status, raw = response.status, response.read()
        if path != SCHEMA:
            self.contract.check(method, path, status, dict(response.headers), raw)
        return status, raw
