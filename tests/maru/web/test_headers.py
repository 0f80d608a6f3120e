"""Security headers of every response: CSP, framing, MIME sniffing, referrer and caching."""

import re
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError
from uuid import uuid4

import pytest
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, path
from django.urls.resolvers import RoutePattern
from pytest_django import Settings

from accounts.models import User
from accounts.services import create_team, create_token, create_user
from agents.services import create_demo_persona
from rooms.services import create_room, post_message
from tests.accounts.login.totp import enable_totp
from tests.live import Installation

pytestmark = pytest.mark.django_db

CACHEABLE = {"get_wire"}
"""Routes whose responses are the same for all users and may be cached."""

POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "object-src 'none'",
}


def faults(response: HttpResponseBase, *, may_be_cached: bool = False) -> list[str]:
    """Return what is wrong with the headers of a response."""
    headers = response.headers
    policy = headers.get("Content-Security-Policy", "")
    directives = {directive.strip() for directive in policy.split(";")}
    expected = {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "X-Frame-Options": "DENY",
    }
    found = [name for name, value in expected.items() if headers.get(name) != value]
    if not directives >= POLICY or re.search(r"unsafe|\*|https?:|data:|blob:", policy):
        found.append("Content-Security-Policy")
    kept = {directive.strip() for directive in headers.get("Cache-Control", "").split(",")}
    if not may_be_cached and not {"private", "no-store"} <= kept:
        found.append("Cache-Control")
    return found


@pytest.fixture
def owner(db: None) -> User:
    return create_user(name="Owner", email="owner@example.com", verified=True)


@pytest.fixture
def ids(owner: User) -> dict[str, str]:
    """Ids and words for the parameters of routes, of objects that the owner can access."""
    team = create_team(user=owner, name="Team")
    persona = create_demo_persona(user=owner, team_id=team.pk)
    room = create_room(user=owner, team_id=team.pk, name="room", personas=[persona.pk])
    posted = post_message(user=owner, room_id=room.pk, text="one")
    objects = {"team": team, "room": room, "persona": persona, "user": owner}
    return {
        **{name: str(instance.pk) for name, instance in objects.items()},
        **{f"{name}_id": str(instance.pk) for name, instance in objects.items()},
        "run_id": str(posted.runs[0]),
        "pk": str(persona.pk),
    }


def routes(
    patterns: list[URLPattern | URLResolver], before: str = ""
) -> Iterator[tuple[str, str | None]]:
    """Yield the URL template and the name of each route."""
    for pattern in patterns:
        route = str(pattern.pattern)
        if not isinstance(pattern.pattern, RoutePattern):
            route = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"<\1>", route).strip("^$").replace(r"\Z", "")
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, before + route)
        else:
            yield before + route, pattern.name


def filled(template: str, ids: dict[str, str]) -> str:
    """Fill each parameter of a URL template with an existing id, else with a well-formed value."""

    def value(parameter: re.Match[str]) -> str:
        kind, name = parameter["kind"] or "str", parameter["name"]
        made_up = {"uuid": str(uuid4()), "int": "1"}.get(kind, "x")
        return ids.get(name, made_up)

    return "/" + re.sub(r"<(?:(?P<kind>\w+):)?(?P<name>\w+)>", value, template)


def signed_in(user: User) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(user, "allauth.account.auth_backends.AuthenticationBackend")
    return client


@pytest.mark.parametrize("who", ["nobody", "owner", "superuser"])
def test_every_route_has_every_header(who: str, owner: User, ids: dict[str, str]) -> None:
    owner.is_staff = owner.is_superuser = who == "superuser"
    owner.save()
    enable_totp(owner)
    client = Client(raise_request_exception=False) if who == "nobody" else signed_in(owner)
    addresses = [
        (filled(template, ids), name) for template, name in routes(get_resolver().url_patterns)
    ]
    assert len(addresses) > 100

    wrong = {}
    statuses = set()
    for address, name in addresses:
        response = client.get(address)
        statuses.add(response.status_code)
        found = faults(response, may_be_cached=name in CACHEABLE)
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            found.append(str(response.status_code))
        if found:
            wrong[address] = found

    assert wrong == {}
    assert {200, 302, 404} <= statuses


@pytest.mark.parametrize(
    ("status", "method", "address", "headers"),
    [
        (400, "get", "/accounts/login/", {"host": "evil.example"}),
        (400, "patch", "/api/v1/me", {"authorization": "TOKEN"}),
        (401, "get", "/api/v1/me", {}),
        (401, "get", "/api/v1/me", {"authorization": "Bearer maru_wrong"}),
        (403, "post", "/accounts/login/", {}),
        (404, "get", "/nothing/here", {}),
        (404, "get", "/static/nothing.css", {}),
        (404, "get", "/api/v1/nothing", {"authorization": "TOKEN"}),
        (405, "delete", "/api/v1/me", {"authorization": "TOKEN"}),
        (405, "options", "/healthz", {}),
    ],
)
def test_refused_requests_have_every_header(
    owner: User, status: int, method: str, address: str, headers: dict[str, str]
) -> None:
    _, secret = create_token(user=owner, name="test", scopes=["admin"])
    headers = {name: value.replace("TOKEN", f"Bearer {secret}") for name, value in headers.items()}

    response = getattr(Client(enforce_csrf_checks=True), method)(address, headers=headers)

    assert (response.status_code, faults(response)) == (status, [])


def failing_view(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("CANARY of a failure")


def unprotected_view(request: HttpRequest) -> HttpResponse:
    """Return a response without its protections."""
    response = HttpResponse("ok", headers={"Cache-Control": "public"})
    response._csp_exempt = True  # type: ignore[attr-defined]  # as django-csp's decorator does
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    return response


urlpatterns = [path("failing_view", failing_view), path("unprotected_view", unprotected_view)]


def test_internal_error_has_every_header_and_hides_its_cause(
    settings: Settings, owner: User
) -> None:
    settings.ROOT_URLCONF = __name__

    response = signed_in(owner).get("/failing_view")

    assert (response.status_code, faults(response)) == (500, [])
    assert "CANARY" not in response.content.decode()


def test_missing_or_weakened_header_is_found(settings: Settings, owner: User) -> None:
    settings.ROOT_URLCONF = __name__

    response = signed_in(owner).get("/unprotected_view")

    assert faults(response) == ["X-Frame-Options", "Content-Security-Policy", "Cache-Control"]
    assert len(faults(HttpResponse())) == 6


@pytest.mark.parametrize("directive", ["script-src 'self' 'unsafe-inline'", "img-src *", "x"])
def test_weakened_content_security_policy_is_found(client: Client, directive: str) -> None:
    response: Any = client.get("/accounts/login/")
    assert faults(response) == []

    policy = response.headers["Content-Security-Policy"]
    name = directive.partition(" ")[0]
    response.headers["Content-Security-Policy"] = re.sub(rf"{name}[^;]*", directive, policy)

    assert faults(response) == (["Content-Security-Policy"] if directive != "x" else [])


def test_foreign_host_header_is_refused_and_not_echoed(client: Client) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:8000", "127.0.0.1@evil"):
        response = client.get("/accounts/login/", headers={"host": host})
        assert response.status_code == HTTPStatus.BAD_REQUEST
        assert b"evil" not in response.content


def test_host_in_forwarded_headers_is_ignored(client: Client) -> None:
    headers = {"x-forwarded-host": "evil.example", "forwarded": "host=evil.example"}

    response = client.get("/", headers=headers)

    assert response.status_code == HTTPStatus.FOUND
    assert "evil" not in f"{response.headers}{response.content!r}"


def test_static_files_are_public_revalidated_and_have_nosniff(
    installation: Installation,
) -> None:
    url = f"{installation.url}/static/css/base/base.css"
    with urllib.request.urlopen(url) as response:
        headers = response.headers

    assert headers["Cache-Control"] == "max-age=0, public"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in headers
    assert headers["Last-Modified"]


@pytest.mark.parametrize(
    "path",
    [
        "/static/../manage.0123456789ab.py",
        "/static//etc/passwd.0123456789ab.x",
        "/x.0123456789ab.css",
    ],
)
def test_hash_in_a_path_leads_to_no_file_outside_of_the_static_files(
    installation: Installation, path: str
) -> None:
    with pytest.raises(HTTPError) as refused:
        urllib.request.urlopen(f"{installation.url}{path}")
    refused.value.close()

    assert refused.value.code == HTTPStatus.NOT_FOUND
