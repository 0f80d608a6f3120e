"""Requests generated from the OpenAPI schema: what it allows is accepted, the rest is refused.

Every property of every body, and every parameter, is sent with each value that its schema allows at
its bounds, and with each single violation of its schema.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from math import inf
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from accounts.services import create_token
from tests.openapi import PREFIX, Schema, contract
from tests.security.principals import Tenant, make_tenant
from tests.security.requests import BODIES, PARAMETERS, filled

pytestmark = pytest.mark.django_db

SOON = (timezone.now() + timedelta(days=30)).isoformat()
ALLOWED_TEXTS: dict[str, list[str]] = {
    "thread": ["all"],
    "agents": ["x: {role: x, goal: x}"],
    "tasks": ["", "y: {agent: x}"],
    "base_url": [""],
    "url": ["https://api.example.com/mcp"],
    "sha256": ["0" * 64],
    "email": ["", "someone@example.com"],
    "expires_at": [SOON],
    "handle": ["nari", "@나리", "x" * 40],
    "since": ["2030-01-01T00:00:00Z", "2030-01-01T09:00:00.5%2B09:00"],
    "until": ["2030-01-01T00:00:00Z"],
    "cursor": [str(uuid4())],
}
"""Values of fields with a rule that JSON Schema cannot state, by the name of the field."""
NEEDED = {("kind", "openai"): {"base_url": "https://1.1.1.1/v1"}}
"""Fields that a value of another field needs."""
RESTORED = {"POST /teams/{team_id}/restore"}
"""Finds no deleted team: the access is decided before the request is judged."""


def operations() -> Iterator[tuple[str, Schema]]:
    """Yield `METHOD /path` and the description of each operation."""
    for path, methods in contract().schema["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} /{path.removeprefix(PREFIX)}", operation


def with_body() -> list[str]:
    return [name for name, operation in operations() if "requestBody" in operation]


def body_schema(name: str) -> Schema:
    operation = dict(operations())[name]
    return contract().resolved(operation["requestBody"]["content"]["application/json"]["schema"])


def allowed(schema: Schema, name: str, example: Any) -> Iterator[Any]:
    """Yield values that a schema allows: an example, and the values at its bounds."""
    for shape in choices(schema):
        yield from allowed_by(shape, name)
    if example is not None:
        yield example


def allowed_by(shape: Schema, name: str) -> list[Any]:  # noqa: PLR0911 # one case per type
    match shape.get("type", "string"):
        case "null":
            return [None]
        case "boolean":
            return [True, False]
        case "object":
            return [{}]
        case "integer" | "number":
            return [shape[bound] for bound in ("minimum", "maximum") if bound in shape]
        case "array":
            return [] if shape.get("minItems") else [[]]
    if "enum" in shape or name in ALLOWED_TEXTS or "format" in shape:
        return [*shape.get("enum", ALLOWED_TEXTS.get(name, []))]
    return ["가" * shape.get("minLength", 0), "x" * shape.get("maxLength", 1)]


def choices(schema: Schema) -> list[Schema]:
    """Return the alternatives of a schema, or the schema itself."""
    schema = contract().resolved(schema)
    return [contract().resolved(each) for each in schema.get("anyOf", [schema])]


OF_TYPE: dict[str, list[Any]] = {
    "string": ["no such word", ""],
    "integer": [7, -1],
    "number": [0.5],
    "boolean": [True, False],
    "array": [[], [7]],
    "object": [{}, {"x": 1}],
    "null": [None],
}


def violations(schema: Schema, example: Any) -> Iterator[Any]:  # one case per type
    """Yield values that a schema forbids, each for one reason."""
    shapes = choices(schema)
    kinds = {each.get("type", "string") for each in shapes}
    for kind, values in OF_TYPE.items():
        if kind not in kinds and not (kind == "integer" and "number" in kinds):
            yield from values
    for shape in shapes:
        match shape.get("type", "string"):
            case "integer":
                yield from (1.0, "1", *beyond(shape))
            case "number":
                yield from beyond(shape)
            case "string":
                yield from wrong_strings(shape)
            case "array":
                yield from wrong_arrays(shape, example)


def beyond(shape: Schema) -> list[Any]:
    lower = [shape["minimum"] - 1] if "minimum" in shape else []
    return [*lower, shape["maximum"] + 1] if "maximum" in shape else lower


def wrong_strings(shape: Schema) -> list[Any]:
    if "enum" in shape or "format" in shape:
        return ["no such word", "", "2030-01-01", "0.5", " "]
    short = [""] if shape.get("minLength") else []
    long = ["x" * (shape["maxLength"] + 1)] if "maxLength" in shape else []
    return [*short, *long, "nul \0"]


def wrong_arrays(shape: Schema, example: Any) -> list[Any]:
    item = example[0] if example else str(uuid4())
    few = [[item] * (shape["minItems"] - 1)] if shape.get("minItems") else []
    many = [[item] * (shape["maxItems"] + 1)] if "maxItems" in shape else []
    objects = [{**item, "unknown": 1}] if isinstance(item, dict) else []
    return [*few, *many, *([bad] for bad in [*objects, *violations(shape["items"], None)])]


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("Here")


@pytest.fixture
def client(tenant: Tenant) -> Client:
    _token, secret = create_token(user=tenant.owner, name="all", scopes=["admin"])
    return Client(headers={"Authorization": f"Bearer {secret}"})


@contextmanager
def undone() -> Iterator[None]:
    """Undo what the requests inside have changed."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def send(client: Client, name: str, tenant: Tenant, body: Any = None, query: str = "") -> Any:
    method, _, path = name.partition(" ")
    where = re.sub(r"{(\w+)}", lambda found: tenant.ids[PARAMETERS[found[1]]], path)
    content = body if isinstance(body, bytes) else json.dumps(body) if body is not None else ""
    return client.generic(
        method, f"{PREFIX}{where.removeprefix('/')}?{query}", content, "application/json"
    )


def test_bodies_are_refused_for_every_single_violation(client: Client, tenant: Tenant) -> None:
    tried = 0
    for name in with_body():
        schema, good = body_schema(name), filled(BODIES[name], tenant.ids)
        wrong = [
            (field, {**good, field: bad})
            for field, shape in schema["properties"].items()
            for bad in violations(shape, good.get(field))
        ]
        wrong += [(field, without(good, field)) for field in schema.get("required", [])]
        for field, body in [*wrong, ("unknown", {**good, "unknown": None})]:
            answer = send(client, name, tenant, body)
            case = (name, field, str(body.get(field, "absent"))[:80], answer.content[:300])
            shapes = choices(schema["properties"]["text"]) if field == "text" else []
            if any(len(str(body.get(field))) > each.get("maxLength", inf) for each in shapes):
                assert answer.status_code == 413, case
                continue
            assert answer.status_code == 400, case
            assert {place.partition(".")[0] for place in answer.json()["fields"]} == {field}, case
            tried += 1

    assert tried > 700


def without(body: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != field}


def test_bodies_are_accepted_for_every_allowed_value(client: Client, tenant: Tenant) -> None:
    tried = 0
    for name in with_body():
        good = filled(BODIES[name], tenant.ids)
        for field, shape in body_schema(name)["properties"].items():
            if name.endswith("/delete") or field == "choice":
                continue  # the name must be that of the team, the choice one of the question
            for value in allowed(shape, field, good.get(field)):
                needed = NEEDED.get((field, str(value)), {})
                with undone():
                    answer = send(client, name, tenant, {**good, **needed, field: value})
                # The thing may be missing or in another state; the value is accepted.
                case = (name, field, str(value)[:80], answer.content[:300])
                assert answer.status_code < 300 or answer.status_code in (404, 409), case
                tried += 1

    assert tried > 150


def test_parameters_are_refused_for_every_violation_and_accepted_otherwise(
    client: Client, tenant: Tenant
) -> None:
    tried = 0
    for name, operation in operations():
        for parameter in operation["parameters"]:
            if parameter["in"] != "query":
                continue
            schema, key = parameter["schema"], parameter["name"]
            assert "anyOf" not in schema, (name, key)
            bad = [*wrong_texts(schema), f"1&{key}=1"]
            for text in bad:
                answer = send(client, name, tenant, query=f"{key}={text}")
                assert answer.status_code == 400, (name, key, text)
                assert {*answer.json()["fields"]} == {key}, (name, key, text)
                tried += 1
            for value in allowed(schema, key, schema.get("default")):
                text = json.dumps(value) if not isinstance(value, str) else value
                if key == "cursor" or (name.endswith("/stream") and value):
                    continue  # the value depends on the list, or on the length of the log
                answer = send(client, name, tenant, query=f"{key}={text}")
                assert answer.status_code in (200, 409), (name, key, text, answer)
        if name != "GET /wire.json":
            answer = send(client, name, tenant, filled(BODIES.get(name), tenant.ids), "unknown=1")
            expected = None if name in RESTORED else {"unknown": "Unknown parameter"}
            assert answer.json().get("fields") == expected, (name, answer.content)

    assert tried > 100


def wrong_texts(schema: Schema) -> list[str]:
    """Return texts that are not a value of the schema in a query."""
    if schema["type"] == "boolean":
        return ["0", "1", "yes", "on", "True", "null", ""]
    if schema["type"] == "integer":
        outside = [schema["minimum"] - 1]
        outside += [schema["maximum"] + 1] if "maximum" in schema else []
        return [
            "x",
            "",
            "1.0",
            "0.5",
            "1e1",
            "1_0",
            "%2B1",
            "+1",
            "true",
            "null",
            *map(str, outside),
        ]
    if "format" in schema:
        return ["x", "", "0.5", "0", "2030-01-01", "2030-01-01T00:00:00", "null", "{}"]
    if "pattern" in schema:
        return ["x", "", "ALL", "null", "%00"]
    return ["x" * (schema["maxLength"] + 1), "%00"]


def test_operations_without_a_body_refuse_one(client: Client, tenant: Tenant) -> None:
    bodiless = {name for name, _ in operations()} - {*with_body(), "GET /wire.json"}
    for name in bodiless - RESTORED:
        fields = send(client, name, tenant, {"unknown": 1})
        text = send(client, name, tenant, b"nonsense")

        assert (fields.status_code, text.status_code) == (400, 400), name
        assert fields.json()["fields"] == {"unknown": "Unknown field"}, name
    assert len(bodiless) > 30


def test_bad_json_wrong_value_and_wrong_field_are_three_sentences_in_each_language(
    client: Client, tenant: Tenant
) -> None:
    details: dict[str, list[str]] = {}
    for language in ("en", "ko"):
        client.defaults["HTTP_ACCEPT_LANGUAGE"] = language
        details[language] = [
            send(client, "PATCH /me", tenant, body).json()["detail"]
            for body in (b"{", b"[]", {"name": 7}, {"nmae": "x"})
        ]

    assert len({*details["en"], *details["ko"]}) == 8
    for sentence in details["ko"]:
        assert re.search("[가-힣]", sentence)


def test_every_example_of_the_schema_is_valid() -> None:
    found = 0
    for name, operation in operations():
        messages = [operation.get("requestBody", {}), *operation["responses"].values()]
        for message in map(contract().resolved, messages):
            content = message.get("content", {}).get("application/json", {})
            if name == "GET /wire.json" or not content:
                continue
            contract().validate(content["schema"], content["example"])
            assert '"text"' not in json.dumps(content["example"]).replace('"text":', ""), name
            found += 1

    assert found > 100


def test_every_path_parameter_of_a_wrong_form_is_not_found(client: Client, tenant: Tenant) -> None:
    for name, operation in operations():
        for parameter in operation["parameters"]:
            if parameter["in"] == "path" and parameter["name"] != "emoji":
                kind = PARAMETERS[parameter["name"]]
                for wrong in ("x", "7.5", "-1", "%00"):
                    other = replace(tenant, ids={**tenant.ids, kind: wrong})
                    answer = send(client, name, other, filled(BODIES.get(name), tenant.ids))
                    assert answer.status_code == 404, (name, kind, wrong)
