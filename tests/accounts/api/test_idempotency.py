"""`Idempotency-Key`: a stored response is replayed only to a user who may do the request."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import KeptAnswer, User
from accounts.services import create_team, create_token, invite
from rooms.services import create_room
from tests.accounts.conftest import Cast, Response

pytestmark = pytest.mark.django_db

API = "/api/v1"


def post(user: User, path: str, body: Any, **scope: Any) -> Response:
    """POST with the same key each time, by a new token of that scope."""
    _token, secret = create_token(user=user, name="script", **{"scopes": ["admin"], **scope})
    headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "key"}
    text = body if isinstance(body, str) else json.dumps(body)
    return Client().post(API + path, text, content_type="application/json", headers=headers)


def test_expired_key_posts_a_new_message(cast: Cast) -> None:
    room = create_room(user=cast.owner, team_id=cast.team.pk, name="room")
    path = f"/rooms/{room.pk}/messages"
    first = post(cast.owner, path, {"text": "one"})
    KeptAnswer.objects.update(created_at=timezone.now() - timedelta(hours=25))

    second = post(cast.owner, path, {"text": "two"})

    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json()["message"]["text"] == "two"
    assert room.messages.count() == 2


def test_deletion_and_restoration_of_a_team_are_replayed(cast: Cast) -> None:
    path, body = f"/teams/{cast.team.pk}", {"name": cast.team.name}
    deleted = [post(cast.owner, f"{path}/delete", body) for _ in range(2)]
    by_another_user = post(cast.admin, f"{path}/delete", body)
    restored = [post(cast.owner, f"{path}/restore", "") for _ in range(2)]

    assert [each.status_code for each in deleted + restored] == [200] * 4
    assert deleted[0].content == deleted[1].content
    assert restored[0].content == restored[1].content
    assert by_another_user.status_code == 404


def test_secret_of_a_token_is_not_replayed_to_a_token_of_smaller_scope(cast: Cast) -> None:
    body = {"name": "bot", "scopes": ["admin"]}
    first = post(cast.owner, "/me/tokens", body)

    again = post(cast.owner, "/me/tokens", body)
    with_write_scope = post(cast.owner, "/me/tokens", body, scopes=["write"])
    team_bound = post(cast.owner, "/me/tokens", body, team=cast.team)
    expiring = post(
        cast.owner, "/me/tokens", body, expires_at=timezone.now() + timedelta(minutes=1)
    )

    assert again.content == first.content
    assert [with_write_scope.status_code, team_bound.status_code, expiring.status_code] == [403] * 3
    assert (
        first.json()["token"]
        not in f"{with_write_scope.content}{team_bound.content}{expiring.content}"
    )


def test_team_bound_token_gets_no_stored_response_about_another_team(cast: Cast) -> None:
    third = create_team(user=cast.stranger, name="Third")
    _invitation, secret = invite(user=cast.stranger, team_id=third.pk)
    bodies = {"/teams": {"name": "Fourth"}, "/invitations/accept": {"token": secret}}

    for path, body in bodies.items():
        first = post(cast.owner, path, body)
        again = post(cast.owner, path, body, team=cast.team)

        assert first.status_code in {200, 201}, path
        assert (again.status_code, again.json()["code"]) == (403, "forbidden"), path


@pytest.mark.parametrize("body", ["{", "{}", '{"unknown": 1}'])
def test_scope_is_checked_before_the_body_is_decoded(cast: Cast, body: str) -> None:
    bound: dict[str, Any] = {"team": cast.team}

    responses = [
        post(cast.owner, "/me/tokens", body, scopes=["write"]),
        post(cast.owner, "/teams", body, **bound),
        post(cast.owner, "/invitations/accept", body, **bound),
    ]
    _token, secret = create_token(user=cast.owner, name="bound", **bound)
    me = Client().patch(
        f"{API}/me",
        body,
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}"},
    )

    assert [response.status_code for response in [*responses, me]] == [403] * 4


def test_stored_response_survives_a_rotated_secret_key(cast: Cast, settings: Settings) -> None:
    first = post(cast.owner, "/teams", {"name": "One"})

    old, settings.SECRET_KEY = settings.SECRET_KEY, "x" * 50
    settings.SECRET_KEY_FALLBACKS = [old]
    again = post(cast.owner, "/teams", {"name": "One"})
    settings.SECRET_KEY_FALLBACKS = []
    unreadable = post(cast.owner, "/teams", {"name": "One"})

    assert again.content == first.content
    assert (unreadable.status_code, unreadable.json()["code"]) == (409, "conflict")


def test_purge_deletes_expired_responses_of_every_user(cast: Cast) -> None:
    post(cast.owner, "/teams", {"name": "One"})
    post(cast.admin, "/teams", {"name": "Two"})
    old = KeptAnswer.objects.filter(user=cast.owner)
    old.update(created_at=timezone.now() - timedelta(hours=25))
    output = StringIO()

    call_command("purge", stdout=output)

    assert "1 stored responses" in output.getvalue()
    assert [kept.user for kept in KeptAnswer.objects.all()] == [cast.admin]
