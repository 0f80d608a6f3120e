"""`Idempotency-Key` behind the gates: nobody is told again what they may not do themselves."""

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
from tests.accounts.conftest import Answer, Cast

pytestmark = pytest.mark.django_db

API = "/api/v1"


def post(user: User, path: str, body: Any, **reach: Any) -> Answer:
    """Ask with the one key, by a token of that reach."""
    _token, secret = create_token(user=user, name="script", **{"scopes": ["admin"], **reach})
    headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "key"}
    text = body if isinstance(body, str) else json.dumps(body)
    return Client().post(API + path, text, content_type="application/json", headers=headers)


def test_key_that_is_forgotten_says_something_new(cast: Cast) -> None:
    room = create_room(user=cast.owner, team_id=cast.team.pk, name="room")
    path = f"/rooms/{room.pk}/messages"
    first = post(cast.owner, path, {"text": "one"})
    KeptAnswer.objects.update(created_at=timezone.now() - timedelta(hours=25))

    second = post(cast.owner, path, {"text": "two"})

    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json()["message"]["text"] == "two"
    assert room.messages.count() == 2


def test_secret_of_a_token_is_not_told_again_to_a_lesser_one(cast: Cast) -> None:
    wish = {"name": "bot", "scopes": ["admin"]}
    made = post(cast.owner, "/me/tokens", wish)

    again = post(cast.owner, "/me/tokens", wish)
    by_writing = post(cast.owner, "/me/tokens", wish, scopes=["write"])
    bound = post(cast.owner, "/me/tokens", wish, team=cast.team)
    ending = post(cast.owner, "/me/tokens", wish, expires_at=timezone.now() + timedelta(minutes=1))

    assert again.content == made.content
    assert [by_writing.status_code, bound.status_code, ending.status_code] == [403] * 3
    assert made.json()["token"] not in f"{by_writing.content}{bound.content}{ending.content}"


def test_token_of_one_team_is_not_told_again_of_another(cast: Cast) -> None:
    elsewhere = create_team(user=cast.stranger, name="Third")
    _invitation, link = invite(user=cast.stranger, team_id=elsewhere.pk)
    asked = {"/teams": {"name": "Fourth"}, "/invitations/accept": {"token": link}}

    for path, body in asked.items():
        done = post(cast.owner, path, body)
        again = post(cast.owner, path, body, team=cast.team)

        assert done.status_code in {200, 201}, path
        assert (again.status_code, again.json()["code"]) == (403, "forbidden"), path


@pytest.mark.parametrize("body", ["{", "{}", '{"unknown": 1}'])
def test_gate_is_asked_before_the_body_is_read(cast: Cast, body: str) -> None:
    bound: dict[str, Any] = {"team": cast.team}

    answers = [
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

    assert [answer.status_code for answer in [*answers, me]] == [403] * 4


def test_answer_is_told_again_under_a_newer_secret_key(cast: Cast, settings: Settings) -> None:
    made = post(cast.owner, "/teams", {"name": "One"})

    old, settings.SECRET_KEY = settings.SECRET_KEY, "x" * 50
    settings.SECRET_KEY_FALLBACKS = [old]
    again = post(cast.owner, "/teams", {"name": "One"})
    settings.SECRET_KEY_FALLBACKS = []
    lost = post(cast.owner, "/teams", {"name": "One"})

    assert again.content == made.content
    assert (lost.status_code, lost.json()["code"]) == (409, "conflict")


def test_answer_of_somebody_who_does_not_come_again_is_forgotten(cast: Cast) -> None:
    post(cast.owner, "/teams", {"name": "One"})
    post(cast.admin, "/teams", {"name": "Two"})
    old = KeptAnswer.objects.filter(user=cast.owner)
    old.update(created_at=timezone.now() - timedelta(hours=25))
    said = StringIO()

    call_command("purge", stdout=said)

    assert "1 stored responses" in said.getvalue()
    assert [kept.user for kept in KeptAnswer.objects.all()] == [cast.admin]
