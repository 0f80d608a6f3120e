"""Pages while Redis is unreachable: they are served, and sign-in is refused for now."""

import pytest
from django.test import Client
from pydantic import SecretStr
from pytest_django import Settings

from maru.config.backends import cache
from maru.config.env import Env
from tests.live import free_port
from tests.rooms.conftest import make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(settings: Settings) -> Client:
    """A client of an installation with rate limits in a Redis that is unreachable."""
    settings.ACCOUNT_RATE_LIMITS = {}
    url = f"redis://127.0.0.1:{free_port()}/0"
    settings.REDIS_URL, settings.REDIS_SENTINEL = url, None
    settings.CACHES = {"default": cache(Env.model_construct(redis_url=SecretStr(url)))}
    return Client(raise_request_exception=False)


def test_sign_in_page_is_served(client: Client) -> None:
    assert client.get("/accounts/login/").status_code == 200


def test_sign_in_without_counters_is_refused_with_advice(client: Client) -> None:
    user = make_user("Owner")
    user.set_password("ondol-warms-the-floor")
    user.save()

    answer = client.post(
        "/accounts/login/", {"login": user.email, "password": "ondol-warms-the-floor"}
    )

    assert answer.status_code == 503
    assert "maru_session" not in answer.cookies
    assert "127.0.0.1" not in answer.content.decode()
