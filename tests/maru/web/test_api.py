"""The whole REST API: one form of errors, the OpenAPI schema and the reference page."""

import json
import re
from uuid import uuid4

import pytest
from django.db import DataError, InterfaceError, OperationalError
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from accounts.models import User
from accounts.services import create_team, create_token, create_user
from maru.web.api import api
from rooms.services import create_room

pytestmark = pytest.mark.django_db

PREFIX = "/api/v1"
METHODS = ["get", "post", "put", "patch", "delete", "options"]


@pytest.fixture
def user() -> User:
    return create_user(name="Member", email="member@example.com", verified=True)


@pytest.fixture
def token_client(user: User) -> Client:
    _token, secret = create_token(user=user, name="script", scopes=["admin"])
    return Client(headers={"authorization": f"Bearer {secret}"})


def operations() -> list[tuple[str, str]]:
    """Return method and path of every operation of the schema, with random ids in the path."""
    return [
        (method, re.sub(r"\{[^}]*\}", _random_part, path))
        for path, methods in api.get_openapi_schema(path_prefix=PREFIX + "/")["paths"].items()
        for method in methods
    ]


def _random_part(part: re.Match[str]) -> str:
    return str(uuid4()) if part.group().endswith("id}") else "1"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", ["/nothing", "/me/nothing/at/all", "/", "/me/", "/rooms/x"])
def test_unknown_path_is_not_found_in_the_form_of_the_api(
    token_client: Client, method: str, path: str
) -> None:
    response = getattr(token_client, method)(PREFIX + path)

    assert response.status_code == 404
    assert set(response.json()) == {"code", "detail"}
    assert response.json()["code"] == "not_found"


def test_method_without_an_operation_is_refused_in_the_form_of_the_api(
    token_client: Client,
) -> None:
    response = token_client.put(PREFIX + "/me", {}, "application/json")

    assert response.status_code == 405
    assert response.json()["code"] == "invalid"
    assert set(response["Allow"].split(", ")) == {"GET", "PATCH"}


@pytest.mark.parametrize("error", [OperationalError, InterfaceError, DataError])
@pytest.mark.parametrize(
    ("path", "function"),
    [
        ("/me", "accounts.api.authentication.user_for_token"),
        ("/nothing", "accounts.api.authentication.user_for_token"),
        ("/me", "accounts.api.me._me_body"),
    ],
)
def test_database_error_is_unavailable_in_the_form_of_the_api(
    token_client: Client,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    function: str,
    error: type[Exception],
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(function, fail)

    response = token_client.get(PREFIX + path)

    assert (response.status_code, response.json()["code"]) == (503, "unavailable")


def test_request_without_credentials_gets_the_same_response_everywhere(client: Client) -> None:
    """On existing and unknown paths, with an allowed and with another method."""
    paths = [*operations(), ("put", PREFIX + "/me"), ("get", PREFIX + "/nothing"), ("get", PREFIX)]
    responses = [
        client.generic(method.upper(), path, b"not json", "application/json")
        for method, path in paths
        if path not in (PREFIX, PREFIX + "/wire.json")
    ]

    assert len(responses) > 5
    assert {response.status_code for response in responses} == {401}
    assert len({response.content for response in responses}) == 1


def test_access_is_checked_before_the_body(token_client: Client) -> None:
    """An invalid body for an id that does not exist is not found, not invalid."""
    for method, path in operations():
        if not re.search(r"[0-9a-f-]{36}", path) or method == "get":
            continue
        for body in (b"not json", b"{}", b'{"unknown": 1}'):
            response = token_client.generic(method.upper(), path, body, "application/json")
            assert (path, response.status_code) == (path, 404)
            assert response.json()["code"] == "not_found"


def test_every_unsafe_operation_needs_the_csrf_token_of_a_session(user: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)

    for method, path in operations():
        if method != "get":
            response = browser.generic(method.upper(), path, b"{}", "application/json")
            assert (path, response.status_code) == (path, 403)


def test_stream_reads_the_last_event_id_header(user: User, token_client: Client) -> None:
    team = create_team(user=user, name="Team")
    room = create_room(user=user, team_id=team.pk, name="room")

    response = token_client.get(f"{PREFIX}/rooms/{room.pk}/stream", headers={"Last-Event-ID": "x"})

    assert response.status_code == 400
    assert response.json()["fields"] == {"Last-Event-ID": "Expected `int`"}


def test_schema_names_every_route(client: Client) -> None:
    schema = client.get(PREFIX + "/openapi.json").json()

    assert schema["info"]["title"] == "Maru"
    assert PREFIX + "/me" in schema["paths"]
    assert "ErrorBody" in schema["components"]["schemas"]
    assert schema["paths"][PREFIX + "/me"]["patch"]["requestBody"]["content"]
    for methods in schema["paths"].values():
        for operation in methods.values():
            assert "default" not in operation["responses"]


def test_schema_contains_every_component_that_it_refers_to(client: Client) -> None:
    text = client.get(PREFIX + "/openapi.json").content.decode()
    schema = json.loads(text)

    for name in re.findall(r'"#/components/schemas/([^"]+)"', text):
        assert name in schema["components"]["schemas"]


def test_reference_page_loads_nothing_from_other_hosts(client: Client) -> None:
    response = client.get(PREFIX + "/docs")

    page = response.content.decode()
    assert response.status_code == 200
    assert "/api/v1/me/tokens" in page
    assert not re.search(r'(src|href)="https?://', page)
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=", page)


def test_reference_and_schema_are_public(client: Client) -> None:
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
    """Return a path that matches a route."""
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


def test_every_page_with_a_form_needs_the_csrf_token(user: User) -> None:
    """The list of routes comes from the URL resolver, so no page can be left out."""
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
