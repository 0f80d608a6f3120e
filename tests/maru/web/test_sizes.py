"""Oversized input: no route fails with a server error, and no list exceeds its page size."""

import re
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import get_resolver

from accounts.api.pagination import MAX_PAGE
from accounts.models import User
from accounts.services import rename_team
from maru.web.api import api
from tests.accounts.login.totp import enable_totp
from tests.live import Installation
from tests.maru.web.test_headers import filled, ids, owner, routes, signed_in

__all__ = ["ids", "owner"]  # fixtures

pytestmark = pytest.mark.django_db

MEBIBYTE = 1024 * 1024
DEEP = b'{"name":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
LARGE = b'{"name":"' + b"x" * (2 * MEBIBYTE) + b'"}'
MANY = "&".join(f"field{number}=1" for number in range(2_000)).encode()
BODIES = [
    ("deep", DEEP, "application/json"),
    ("large", LARGE, "application/json"),
    ("not UTF-8", b'{"name":"\xff\xfe"}', "application/json"),
    ("many fields", MANY, "application/x-www-form-urlencoded"),
    ("large form", b"name=" + LARGE, "application/x-www-form-urlencoded"),
    ("broken parts", b"--x\r\n" * 2_000, "multipart/form-data; boundary=x"),
]


def addresses(ids: dict[str, str]) -> list[str]:
    found = [filled(template, ids) for template, _name in routes(get_resolver().url_patterns)]
    assert len(found) > 100
    return found


@pytest.mark.parametrize(("kind", "body", "content_type"), BODIES, ids=[b[0] for b in BODIES])
def test_no_route_fails_on_a_large_body(
    owner: User, ids: dict[str, str], kind: str, body: bytes, content_type: str
) -> None:
    owner.is_staff = owner.is_superuser = True
    owner.save()
    enable_totp(owner)
    session = signed_in(owner).cookies
    failed = {}
    for address in addresses(ids):
        for method in ("POST", "PATCH"):
            with transaction.atomic():
                client = Client(raise_request_exception=False)
                client.cookies = session.copy()  # type: ignore[assignment]  # as typed by the stubs
                answer = client.generic(method, address, body, content_type)
                if answer.status_code >= 500:
                    failed[f"{method} {address}"] = answer.status_code
                transaction.set_rollback(True)

    assert failed == {}


@pytest.mark.parametrize("query", ["x=" + "y" * 100_000, "limit=x&cursor=%00&before=1e9&page=-1"])
def test_no_route_fails_on_a_strange_query(owner: User, ids: dict[str, str], query: str) -> None:
    client = signed_in(owner)
    failed = {
        address: answer.status_code
        for address in addresses(ids)
        if (answer := client.get(f"{address}?{query}")).status_code >= 500
    }

    assert failed == {}


def test_too_large_body_is_refused_as_too_large(owner: User, ids: dict[str, str]) -> None:
    answer = signed_in(owner).patch("/api/v1/me", LARGE, content_type="application/json")

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def lists() -> Iterator[str]:
    """Yield the path of each operation of the API that takes a limit."""
    for path, operations in api.get_openapi_schema()["paths"].items():
        taken = {each["name"] for each in operations.get("get", {}).get("parameters", [])}
        if "limit" in taken:
            yield path


@pytest.mark.parametrize("path", list(lists()))
def test_list_returns_one_page_at_most(owner: User, ids: dict[str, str], path: str) -> None:
    for number in range(3):
        rename_team(user=owner, team_id=ids["team_id"], name=f"Name {number}")  # type: ignore[arg-type]  # as text
    client = signed_in(owner)
    address = re.sub(r"{(\w+)}", lambda name: ids[name[1]], path)

    with CaptureQueriesContext(connection) as queries:
        answer = client.get(address, {"limit": MAX_PAGE})
    statements = [
        query["sql"] for query in queries.captured_queries
    ]  # the next request clears them
    wrong = (0, -1, "x", "1e9", "1.0", " 1", "", MAX_PAGE + 1, 10**9, 10**30)
    refused = [client.get(address, {"limit": limit}) for limit in wrong]
    lost = client.get(address, {"cursor": "x" * 10_000}).status_code

    assert answer.status_code == 200
    assert len(answer.json()["items"]) <= MAX_PAGE
    assert 0 < len(statements) <= 20
    assert not any("LIMIT 1000" in sql for sql in statements)
    assert {each.status_code for each in refused} == {400}
    assert all({*each.json()["fields"]} == {"limit"} for each in refused)
    assert lost == 400


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/accounts/login/?" + "x" * 100_000, {}),
        ("/accounts/login/", {"Cookie": "maru_session=" + "x" * 100_000}),
        ("/api/v1/me", {"Authorization": "Bearer maru_" + "x" * 100_000}),
        ("/accounts/login/", {f"X-{number}": "y" for number in range(10_000)}),
    ],
    ids=["query", "cookie", "token", "headers"],
)
def test_server_survives_long_request_heads(
    installation: Installation, path: str, headers: dict[str, str]
) -> None:
    connection = HTTPConnection("127.0.0.1", installation.port, timeout=30)
    connection.request("GET", path, headers=headers)
    status = connection.getresponse().status
    connection.close()

    assert status < 500
    assert installation.request("GET", "/me")[0] == 401
