"""Credentials that can no longer be used are deleted, and all others are kept."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from allauth.socialaccount.models import SocialToken
from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import models
from django.utils import timezone

from accounts.models import ApiToken, Invitation, SetupLink, Team, User
from accounts.services import create_setup_link, create_team, create_token, create_user, invite
from accounts.services.expiry import KEPT, purge_expired
from agents.models import McpSignIn
from rooms.models import Question, ToolCall

pytestmark = pytest.mark.django_db


@pytest.fixture
def team() -> Team:
    owner = create_user(name="Owner", email="owner@example.com", verified=True)
    return create_team(user=owner, name="Team")


def make_session(user: User, expires_at: datetime) -> None:
    session = SessionStore()
    session.set_expiry(expires_at)
    session.save()
    UserSession.objects.create(user=user, ip="127.0.0.1", session_key=session.session_key)


MAKERS: dict[type[models.Model], Callable[[User, Team, datetime], Any]] = {
    Session: lambda user, _team, at: make_session(user, at),
    ApiToken: lambda user, _team, at: create_token(user=user, name="script", expires_at=at),
    Invitation: lambda user, team, at: invite(
        user=user, team_id=team.pk, lifetime=at - timezone.now()
    ),
    SetupLink: lambda _user, _team, _at: create_setup_link(),
}


def test_every_model_that_expires_is_known_here() -> None:
    expiring = {
        model
        for model in apps.get_models()
        if {"expires_at", "expire_date"} & {field.name for field in model._meta.get_fields()}
    }

    # allauth stores no tokens of sign-in providers (SOCIALACCOUNT_STORE_TOKENS). Tokens of servers
    # are refreshed when they expire; calls and questions are decided then, and kept.
    assert expiring - {SocialToken, McpSignIn, Question, ToolCall} == set(MAKERS)


@pytest.mark.parametrize("model", MAKERS)
def test_purge_deletes_what_has_expired_and_keeps_the_rest(
    model: type[models.Model], team: Team
) -> None:
    owner = User.objects.get()
    MAKERS[model](owner, team, timezone.now() + timedelta(minutes=30))
    kept = timedelta() if model in {Session, SetupLink} else KEPT

    assert purge_expired() == 0
    assert model._default_manager.count() == 1
    with time_machine.travel(timezone.now() + timedelta(minutes=90) + kept):
        assert purge_expired() >= 1

    assert not model._default_manager.exists()
    assert not UserSession.objects.exists()


def test_purge_keeps_tokens_that_never_expire(team: Team) -> None:
    create_token(user=User.objects.get(), name="script")

    with time_machine.travel(timezone.now() + timedelta(days=10_000)):
        purge_expired()

    assert ApiToken.objects.count() == 1
