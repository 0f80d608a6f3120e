"""The REST API as a whole: one way to say no, and a reference of everything in it."""

import json
import re
from uuid import uuid4

import pytest
from django.db import DataError, InterfaceError, OperationalError
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from accounts.models import User
from accounts.services import create_token, create_user
from maru.web.api import api

pytestmark = pytest.mark.django_db

PREFIX = "/api/v1"
METHODS = ["get", "post", "put", "patch", "delete", "options"]


@pytest.fixture
def user() -> User:
    return create_user(name="Member", email="member@example.com", verified=True)


@pytest.fixture
def client_of(user: User) -> Client:
    _token, secret = create_token(user=user, name="script", scopes=["admin"])
    return Client(headers={"authorization": f"Bearer {secret}"})


def operations() -> list[tuple[str, str]]:
    """Every operation of the schema, with made-up ids in its path."""
    return [
        (method, re.sub(r"\{[^}]*\}", _made_up, path))
        for path, methods in api.get_openapi_schema(path_prefix=PREFIX + "/")["paths"].items()
        for method in methods
    ]


def _made_up(part: re.Match[str]) -> str:
    return str(uuid4()) if part.group().endswith("id}") else "1"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", ["/nothing", "/me/nothing/at/all", "/", "/me/", "/rooms/x"])
def test_path_that_is_not_there_says_so_in_our_form(
    client_of: Client, method: str, path: str
) -> None:
    answer = getattr(client_of, method)(PREFIX + path)

    assert answer.status_code == 404
    assert set(answer.json()) == {"code", "detail"}
    assert answer.json()["code"] == "not_found"


def test_method_that_a_path_does_not_know_is_refused_in_our_form(client_of: Client) -> None:
    answer = client_of.put(PREFIX + "/me", {}, "application/json")

    assert answer.status_code == 405
    assert answer.json()["code"] == "invalid"
    assert set(answer["Allow"].split(", ")) == {"GET", "PATCH"}


@pytest.mark.parametrize("error", [OperationalError, InterfaceError, DataError])
@pytest.mark.parametrize(
    ("path", "step"),
    [
        ("/me", "accounts.api.endpoints.user_for_token"),
        ("/nothing", "accounts.api.endpoints.user_for_token"),
        ("/me", "accounts.api.me._me"),
    ],
)
def test_database_that_fails_is_told_of_in_our_form(
    client_of: Client, monkeypatch: pytest.MonkeyPatch, path: str, step: str, error: type[Exception]
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(step, fail)

    answer = client_of.get(PREFIX + path)

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


def test_nobody_hears_the_same_everywhere(client: Client) -> None:
    """Of what is there and of what is not, by a right method and by a wrong one."""
    paths = [*operations(), ("put", PREFIX + "/me"), ("get", PREFIX + "/nothing"), ("get", PREFIX)]
    answers = [
        client.generic(method.upper(), path, b"not json", "application/json")
        for method, path in paths
        if path != PREFIX
    ]

    assert len(answers) > 5
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1


def test_stranger_is_told_of_nothing_before_the_body_is_read(client_of: Client) -> None:
    """Existence and access are judged first: no path with an id answers for its body."""
    for method, path in operations():
        if not re.search(r"[0-9a-f-]{36}", path) or method == "get":
            continue
        for body in (b"not json", b"{}", b'{"unknown": 1}'):
            answer = client_of.generic(method.upper(), path, body, "application/json")
            assert (path, answer.status_code) == (path, 404)
            assert answer.json()["code"] == "not_found"


def test_every_unsafe_operation_asks_a_browser_for_its_csrf_token(user: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)

    for method, path in operations():
        if method != "get":
            answer = browser.generic(method.upper(), path, b"{}", "application/json")
            assert (path, answer.status_code) == (path, 403)


def test_schema_names_every_route(client: Client) -> None:
    schema = client.get(PREFIX + "/openapi.json").json()

    assert schema["info"]["title"] == "Maru"
    assert PREFIX + "/me" in schema["paths"]
    assert "Refusal" in schema["components"]["schemas"]
    assert schema["paths"][PREFIX + "/me"]["patch"]["requestBody"]["content"]
    for methods in schema["paths"].values():
        for operation in methods.values():
            assert operation["responses"]["default"]


def test_schema_refers_to_nothing_that_it_lacks(client: Client) -> None:
    text = client.get(PREFIX + "/openapi.json").content.decode()
    schema = json.loads(text)

    for name in re.findall(r'"#/components/schemas/([^"]+)"', text):
        assert name in schema["components"]["schemas"]


def test_reference_needs_nothing_from_elsewhere(client: Client) -> None:
    answer = client.get(PREFIX + "/docs")

    page = answer.content.decode()
    assert answer.status_code == 200
    assert "/api/v1/me/tokens" in page
    assert not re.search(r'(src|href)="https?://', page)
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=", page)


def test_reference_is_open_to_everybody_and_says_nothing_of_anybody(client: Client) -> None:
    assert client.get(PREFIX + "/docs").status_code == 200
    assert client.get(PREFIX + "/openapi.json").status_code == 200


def _paths(resolver: URLResolver, prefix: str = "/") -> list[tuple[str, URLPattern]]:
    found: list[tuple[str, URLPattern]] = []
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            found += _paths(pattern, route)
        else:
            found.append((route, pattern))
    return found


def _example(route: str) -> str:
    """An address that a route matches."""
    known = {
        r"/^confirm-email/(?P<key>[-:\w]+)/$": "/confirm-email/x/",
        r"/^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$": "/password/reset/key/1-x/",
        r"/^(?P<provider_id>[^/]+)/": "/oidc/",
        r"/(?P<url>.*)$": "/x",
    }
    for expression, example in known.items():
        route = route.replace(expression, example)
    route = re.sub(r"<uuid:\w+>", str(uuid4()), route)
    route = re.sub(r"<int:\w+>", "1", route)
    return re.sub(r"<(\w+:)?\w+>", "x", route)


def test_every_page_that_takes_a_form_asks_for_its_csrf_token(user: User) -> None:
    """For all routes that there are: the list is the resolver's, not ours."""
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    paths = [
        _example(route)
        for route, _pattern in _paths(get_resolver())
        if not route.startswith(PREFIX)
    ]

    assert len(paths) > 30
    for path in paths:
        assert (path, browser.post(path).status_code) == (path, 403)
