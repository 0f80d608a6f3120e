"""The REST endpoints of the current user and tokens: authentication, bodies, pages and errors."""

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.models import ApiToken, User
from accounts.services import create_token, suspend_user, user_for_token
from tests.accounts.conftest import Cast, Response

pytestmark = pytest.mark.django_db

ME = "/api/v1/me"
TOKENS = "/api/v1/me/tokens"


def program(user: User, **scope: Any) -> Client:
    """Return a client that authenticates with a new token of the user."""
    _token, secret = create_token(user=user, name="script", **{"scopes": ["admin"], **scope})
    return Client(headers={"authorization": f"Bearer {secret}"})


def send(client: Client, method: str, path: str, body: Any) -> Response:
    return client.generic(method, path, json.dumps(body), "application/json")


def test_me_is_the_current_user_with_the_teams_of_the_user(cast: Cast) -> None:
    response = program(cast.admin).get(ME)

    assert response.status_code == 200
    assert response.json() == {
        "id": str(cast.admin.pk),
        "email": "admin@example.com",
        "name": "Admin",
        "handle": "admin",
        "wood": "pine",
        "created_at": response.json()["created_at"],
        "teams": [{"id": str(cast.team.pk), "name": "Hangyeol Commerce", "role": "admin"}],
    }
    assert response.json()["created_at"].endswith("Z")


def test_me_needs_two_queries(
    cast: Cast, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client = program(cast.admin)
    client.get(ME)

    with django_assert_num_queries(2):
        client.get(ME)


def test_text_is_sent_unescaped(cast: Cast) -> None:
    client = program(cast.member)

    response = send(client, "PATCH", ME, {"name": "이서준"})

    assert "이서준" in response.content.decode()
    assert response["Content-Type"].startswith("application/json")


def test_bound_token_shows_its_team_only(cast: Cast) -> None:
    from accounts.services import create_team

    create_team(user=cast.admin, name="Second")

    response = program(cast.admin, team=cast.team).get(ME)

    assert [team["name"] for team in response.json()["teams"]] == ["Hangyeol Commerce"]


def test_patch_changes_only_the_fields_in_the_body(cast: Cast) -> None:
    response = send(program(cast.member), "PATCH", ME, {"wood": "zelkova"})

    cast.member.refresh_from_db()
    assert response.json()["wood"] == cast.member.wood == "zelkova"
    assert cast.member.name == "Member"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 41}, "name"),
        ({"name": "\u200b"}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": 7}, "name"),
        ({"wood": "gold"}, "wood"),
        ({"email": "other@example.com"}, "email"),
        ({"is_staff": True}, "is_staff"),
        ({"id": "x", "wood": "pine"}, "id"),
    ],
)
def test_patch_refuses_invalid_and_unknown_fields(
    cast: Cast, body: dict[str, Any], field: str
) -> None:
    before = User.objects.filter(pk=cast.member.pk).values().get()

    response = send(program(cast.member), "PATCH", ME, body)

    assert response.status_code == 400
    assert response.json()["code"] == "invalid"
    assert field in response.json()["fields"]
    assert User.objects.filter(pk=cast.member.pk).values().get() == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b'{"name": NaN}',
        b'{"name": "\\ud800"}',
        b'{"name": "\xff"}',
        b"[" * 5_000,
        b'{"name": ' + b"[" * 5_000,
    ],
)
def test_malformed_body_is_invalid(cast: Cast, body: bytes) -> None:
    response = program(cast.member).generic("PATCH", ME, body, "application/json")

    assert response.status_code == 400
    assert response.json()["code"] == "invalid"


def test_token_is_created_listed_and_revoked(cast: Cast) -> None:
    client = program(cast.member)
    until = (timezone.now() + timedelta(days=1)).isoformat()
    body = {"name": "bot", "scopes": ["read"], "team": str(cast.team.pk), "expires_at": until}

    created = send(client, "POST", TOKENS, body)
    listed = client.get(TOKENS).json()
    revoked = client.delete(f"{TOKENS}/{created.json()['id']}")

    secret = created.json().pop("token")
    assert created.status_code == 201
    assert created.json()["team"] == str(cast.team.pk)
    assert listed["items"][0] == {k: v for k, v in created.json().items() if k != "token"}
    assert listed["next"] is None
    assert (revoked.status_code, revoked.content) == (204, b"")
    assert user_for_token(secret) is None


@pytest.mark.parametrize(
    "end",
    [
        *("9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59Z"),
        *("2020-01-01T00:00:00Z", "2099-01-01T00:00:00"),
    ],
)
def test_token_refuses_an_expiry_that_is_past_or_out_of_range(cast: Cast, end: str) -> None:
    client = program(cast.member)

    response = send(client, "POST", TOKENS, {"name": "bot", "expires_at": end})

    assert (response.status_code, list(response.json()["fields"])) == (400, ["expires_at"])
    assert client.get(TOKENS).status_code == 200


@pytest.mark.parametrize(
    "query",
    ["action=%00", "action=room%00.", "since=9999-12-31T23:59:59-01:00", "until=2020-01-01"],
)
def test_audit_refuses_parameters_that_a_database_refuses(cast: Cast, query: str) -> None:
    """SQLite accepts a NUL in text, PostgreSQL does not."""
    response = program(cast.owner).get(f"/api/v1/teams/{cast.team.pk}/audit?{query}")

    assert response.status_code == 400
    assert list(response.json()["fields"]) == [query.partition("=")[0]]


def test_list_of_tokens_never_shows_a_secret(cast: Cast) -> None:
    client = program(cast.member)
    secret = send(client, "POST", TOKENS, {"name": "bot"}).json()["token"]

    page = client.get(TOKENS).content.decode()

    assert secret not in page
    assert ApiToken.objects.latest("created_at").digest not in page


def test_list_is_paged_by_cursor(cast: Cast) -> None:
    client = program(cast.member)
    for number in range(4):
        create_token(user=cast.member, name=f"bot {number}")

    first = client.get(TOKENS, {"limit": 3}).json()
    second = client.get(TOKENS, {"limit": 3, "cursor": first["next"]}).json()

    names = [token["name"] for token in first["items"] + second["items"]]
    assert len(first["items"]) == 3
    assert sorted(names) == ["bot 0", "bot 1", "bot 2", "bot 3", "script"]
    assert second["next"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=x", "cursor=x", "cursor=%00"])
def test_invalid_page_parameters_are_named(cast: Cast, query: str) -> None:
    response = program(cast.member).get(f"{TOKENS}?{query}")

    assert response.status_code == 400
    assert set(response.json()["fields"]) == {query.partition("=")[0]}


def test_token_of_another_user_is_not_found(cast: Cast) -> None:
    token, _secret = create_token(user=cast.owner, name="foreign")
    client = program(cast.member)

    foreign = client.delete(f"{TOKENS}/{token.pk}")
    absent = client.delete(f"{TOKENS}/{uuid4()}")

    assert foreign.status_code == absent.status_code == 404
    assert foreign.content == absent.content
    assert ApiToken.objects.filter(pk=token.pk).exists()


def test_token_for_a_foreign_team_is_not_found(cast: Cast) -> None:
    client = program(cast.member)

    foreign = send(client, "POST", TOKENS, {"name": "x", "team": str(cast.other_team.pk)})
    absent = send(client, "POST", TOKENS, {"name": "x", "team": str(uuid4())})

    assert foreign.status_code == absent.status_code == 404
    assert foreign.content == absent.content


@pytest.mark.parametrize(
    ("scopes", "method", "path", "expected"),
    [
        (["read"], "GET", ME, 200),
        (["read"], "PATCH", ME, 403),
        (["write"], "PATCH", ME, 200),
        (["write"], "GET", TOKENS, 403),
        (["write"], "POST", TOKENS, 403),
        (["admin"], "GET", TOKENS, 200),
    ],
)
def test_scope_of_a_token_limits_its_requests(
    cast: Cast, scopes: list[str], method: str, path: str, expected: int
) -> None:
    body = {"name": "x"} if method == "POST" else {}

    response = send(program(cast.member, scopes=scopes), method, path, body)

    assert response.status_code == expected


def test_session_with_its_csrf_token_is_accepted(cast: Cast) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(cast.member)
    browser.get("/me/")
    token = browser.cookies["maru_csrf"].value

    without = send(browser, "PATCH", ME, {"wood": "zelkova"})
    forged = browser.generic("PATCH", ME, '{"wood": "zelkova"}', headers={"X-CSRFToken": "a" * 32})
    valid = browser.generic("PATCH", ME, '{"wood": "zelkova"}', headers={"X-CSRFToken": token})

    assert browser.get(ME).status_code == 200
    assert (without.status_code, without.json()["code"]) == (403, "forbidden")
    assert forged.status_code == 403
    assert valid.status_code == 200


def test_bearer_needs_no_csrf_token(cast: Cast) -> None:
    client = program(cast.member)
    client.handler.enforce_csrf_checks = True

    assert send(client, "PATCH", ME, {"wood": "zelkova"}).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer maru_wrong",
        "Basic maru_wrong",
        "Token maru_wrong",
        "Bearer null",
        "Bearer eyJhbGciOiJub25lIn0.e30.",
    ],
)
def test_invalid_bearer_token_is_refused_even_with_a_valid_session(cast: Cast, header: str) -> None:
    """A request with an Authorization header is never authenticated by its cookie."""
    browser = Client()
    browser.force_login(cast.member)

    response = browser.get(ME, headers={"authorization": header})

    assert response.status_code == 401
    assert response.json()["code"] == "unauthenticated"
    assert response["WWW-Authenticate"] == "Bearer"


def test_token_is_read_from_the_authorization_header_only(cast: Cast) -> None:
    _token, secret = create_token(user=cast.member, name="script")

    for response in (
        Client().get(f"{ME}?token={secret}&access_token={secret}"),
        Client().get(ME, headers={"x-api-key": secret}),
        Client().get(ME, headers={"cookie": f"maru_session={secret}"}),
    ):
        assert response.status_code == 401


def test_method_override_header_is_ignored(cast: Cast) -> None:
    response = program(cast.member, scopes=["read"]).get(
        ME, headers={"x-http-method-override": "PATCH", "content-type": "application/json"}
    )

    assert response.status_code == 200
    cast.member.refresh_from_db()
    assert cast.member.wood == "pine"


def test_suspended_user_is_refused_by_token_and_by_session(cast: Cast) -> None:
    client, browser = program(cast.member), Client()
    browser.force_login(cast.member)

    suspend_user(person=cast.member)

    assert client.get(ME).content == browser.get(ME).content == Client().get(ME).content
    assert client.get(ME).status_code == 401
