"""REST for oneself and one's tokens, and the pieces that every endpoint is made of."""

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
from tests.accounts.conftest import Answer, Cast

pytestmark = pytest.mark.django_db

ME = "/api/v1/me"
TOKENS = "/api/v1/me/tokens"


def program(user: User, **wish: Any) -> Client:
    """A client that shows a token of the user."""
    _token, secret = create_token(user=user, name="script", **{"scopes": ["admin"], **wish})
    return Client(headers={"authorization": f"Bearer {secret}"})


def send(client: Client, method: str, path: str, body: Any) -> Answer:
    return client.generic(method, path, json.dumps(body), "application/json")


def test_me_is_oneself_with_ones_teams(cast: Cast) -> None:
    answer = program(cast.admin).get(ME)

    assert answer.status_code == 200
    assert answer.json() == {
        "id": str(cast.admin.pk),
        "email": "admin@example.com",
        "name": "Admin",
        "handle": "admin",
        "wood": "pine",
        "created_at": answer.json()["created_at"],
        "teams": [{"id": str(cast.team.pk), "name": "Hangyeol Commerce", "role": "admin"}],
    }
    assert answer.json()["created_at"].endswith("Z")


def test_me_costs_two_queries(
    cast: Cast, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client = program(cast.admin)
    client.get(ME)

    with django_assert_num_queries(2):
        client.get(ME)


def test_text_is_sent_unescaped(cast: Cast) -> None:
    client = program(cast.member)

    answer = send(client, "PATCH", ME, {"name": "이서준"})

    assert "이서준" in answer.content.decode()
    assert answer["Content-Type"].startswith("application/json")


def test_bound_token_shows_its_team_only(cast: Cast) -> None:
    from accounts.services import create_team

    create_team(user=cast.admin, name="Second")

    answer = program(cast.admin, team=cast.team).get(ME)

    assert [team["name"] for team in answer.json()["teams"]] == ["Hangyeol Commerce"]


def test_patch_changes_what_it_names(cast: Cast) -> None:
    answer = send(program(cast.member), "PATCH", ME, {"wood": "zelkova"})

    cast.member.refresh_from_db()
    assert answer.json()["wood"] == cast.member.wood == "zelkova"
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
def test_patch_refuses_what_it_does_not_know(cast: Cast, body: dict[str, Any], field: str) -> None:
    before = User.objects.filter(pk=cast.member.pk).values().get()

    answer = send(program(cast.member), "PATCH", ME, body)

    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid"
    assert field in answer.json()["fields"]
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
def test_unreadable_body_is_invalid(cast: Cast, body: bytes) -> None:
    answer = program(cast.member).generic("PATCH", ME, body, "application/json")

    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid"


def test_token_is_made_listed_and_revoked(cast: Cast) -> None:
    client = program(cast.member)
    until = (timezone.now() + timedelta(days=1)).isoformat()
    wish = {"name": "bot", "scopes": ["read"], "team": str(cast.team.pk), "expires_at": until}

    made = send(client, "POST", TOKENS, wish)
    listed = client.get(TOKENS).json()
    revoked = client.delete(f"{TOKENS}/{made.json()['id']}")

    secret = made.json().pop("token")
    assert made.status_code == 201
    assert made.json()["team"] == str(cast.team.pk)
    assert listed["items"][0] == {k: v for k, v in made.json().items() if k != "token"}
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
def test_token_ends_at_a_time_that_there_is(cast: Cast, end: str) -> None:
    client = program(cast.member)

    answer = send(client, "POST", TOKENS, {"name": "bot", "expires_at": end})

    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["expires_at"])
    assert client.get(TOKENS).status_code == 200


@pytest.mark.parametrize(
    "query",
    ["action=%00", "action=room%00.", "since=9999-12-31T23:59:59-01:00", "until=2020-01-01"],
)
def test_audit_refuses_what_no_database_takes(cast: Cast, query: str) -> None:
    """SQLite takes a NUL, PostgreSQL does not."""
    answer = program(cast.owner).get(f"/api/v1/teams/{cast.team.pk}/audit?{query}")

    assert answer.status_code == 400
    assert list(answer.json()["fields"]) == [query.partition("=")[0]]


def test_list_of_tokens_never_shows_a_secret(cast: Cast) -> None:
    client = program(cast.member)
    secret = send(client, "POST", TOKENS, {"name": "bot"}).json()["token"]

    page = client.get(TOKENS).content.decode()

    assert secret not in page
    assert ApiToken.objects.latest("created_at").digest not in page


def test_list_comes_in_pages(cast: Cast) -> None:
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
def test_page_that_makes_no_sense_is_invalid(cast: Cast, query: str) -> None:
    answer = program(cast.member).get(f"{TOKENS}?{query}")

    assert answer.status_code == 400
    assert set(answer.json()["fields"]) == {query.partition("=")[0]}


def test_limit_has_a_cap(cast: Cast) -> None:
    assert program(cast.member).get(f"{TOKENS}?limit=1000000000").status_code == 200


def test_token_of_somebody_else_is_not_found(cast: Cast) -> None:
    token, _secret = create_token(user=cast.owner, name="theirs")
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
def test_scope_opens_so_much(
    cast: Cast, scopes: list[str], method: str, path: str, expected: int
) -> None:
    body = {"name": "x"} if method == "POST" else {}

    answer = send(program(cast.member, scopes=scopes), method, path, body)

    assert answer.status_code == expected


def test_session_with_its_csrf_token_is_as_good_as_a_bearer(cast: Cast) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(cast.member)
    browser.get("/me/")
    token = browser.cookies["maru_csrf"].value

    without = send(browser, "PATCH", ME, {"wood": "zelkova"})
    forged = browser.generic("PATCH", ME, '{"wood": "zelkova"}', headers={"X-CSRFToken": "a" * 32})
    right = browser.generic("PATCH", ME, '{"wood": "zelkova"}', headers={"X-CSRFToken": token})

    assert browser.get(ME).status_code == 200
    assert (without.status_code, without.json()["code"]) == (403, "forbidden")
    assert forged.status_code == 403
    assert right.status_code == 200


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
def test_wrong_credentials_are_none_even_beside_a_session(cast: Cast, header: str) -> None:
    """One verifier: a dead token is not made good by a cookie."""
    browser = Client()
    browser.force_login(cast.member)

    answer = browser.get(ME, headers={"authorization": header})

    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthenticated"
    assert answer["WWW-Authenticate"] == "Bearer"


def test_token_is_taken_from_the_header_only(cast: Cast) -> None:
    _token, secret = create_token(user=cast.member, name="script")

    for answer in (
        Client().get(f"{ME}?token={secret}&access_token={secret}"),
        Client().get(ME, headers={"x-api-key": secret}),
        Client().get(ME, headers={"cookie": f"maru_session={secret}"}),
    ):
        assert answer.status_code == 401


def test_method_cannot_be_overridden(cast: Cast) -> None:
    answer = program(cast.member, scopes=["read"]).get(
        ME, headers={"x-http-method-override": "PATCH", "content-type": "application/json"}
    )

    assert answer.status_code == 200
    cast.member.refresh_from_db()
    assert cast.member.wood == "pine"


def test_suspended_user_is_nobody_by_token_and_by_session(cast: Cast) -> None:
    client, browser = program(cast.member), Client()
    browser.force_login(cast.member)

    suspend_user(person=cast.member)

    assert client.get(ME).content == browser.get(ME).content == Client().get(ME).content
    assert client.get(ME).status_code == 401
