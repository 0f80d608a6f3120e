"""Signing in through an OpenID Connect provider, and what it may not be used for."""

import time
from collections.abc import Iterator
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
import time_machine
from django.core.cache import cache
from django.test import Client
from pydantic import SecretStr
from pytest_django import Settings

from accounts.models import Invitation, User
from accounts.services import invite
from maru.config.backends import openid_connect
from maru.config.env import Env
from tests.accounts.conftest import Answer, Cast, make_user
from tests.accounts.login.totp import STEP, enable_totp, totp_code
from tests.oidc import CLIENT_ID, CLIENT_SECRET, Provider, running

pytestmark = pytest.mark.django_db

START = "/accounts/oidc/oidc/login/"


@pytest.fixture
def provider(settings: Settings) -> Iterator[Provider]:
    """A provider that says that it is `seo@example.com` who signs in, and is sure of that."""
    with running() as provider:
        env = Env(
            oidc_issuer=provider.issuer,
            oidc_client_id=CLIENT_ID,
            oidc_client_secret=SecretStr(CLIENT_SECRET),
            oidc_name="Company",
        )
        settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": openid_connect(env)}
        provider.claims = {"sub": "seo-1"}
        says(provider, email="seo@example.com", email_verified=True, name="Seo")
        yield provider


def says(provider: Provider, **claims: object) -> None:
    provider.userinfo = {"sub": "seo-1", **claims}


def sign_in(client: Client, start: str = START) -> Answer:
    """Go through the provider as a browser does, and come back."""
    asked = urlsplit(client.post(start)["Location"])
    connection = HTTPConnection(asked.netloc)
    connection.request("GET", f"{asked.path}?{asked.query}")
    back = urlsplit(connection.getresponse().headers["Location"])
    connection.close()
    return client.get(f"{back.path}?{back.query}")


def who(client: Client) -> User | None:
    key = client.session.get("_auth_user_id")
    return User.objects.get(pk=key) if key else None


def invited(client: Client, cast: Cast, address: str = "") -> Client:
    _invitation, token = invite(user=cast.owner, team_id=cast.team.pk, email=address)
    client.get(f"/invitations/{token}/")
    return client


def test_button_is_there_where_a_provider_is(client: Client, provider: Provider) -> None:
    assert "Sign in with Company" in client.get("/accounts/login/").content.decode()


def test_button_is_not_there_without(client: Client) -> None:
    assert "Sign in with Company" not in client.get("/accounts/login/").content.decode()
    assert client.post(START).status_code == 404


def test_invited_person_gets_an_account(client: Client, cast: Cast, provider: Provider) -> None:
    answer = sign_in(invited(client, cast))

    user = who(client)
    assert user is not None
    assert (user.email, user.name, user.handle) == ("seo@example.com", "Seo", "seo")
    assert not user.has_usable_password()
    assert answer["Location"] == "/invitations/"


def test_account_is_the_same_the_second_time(cast: Cast, provider: Provider) -> None:
    first, second = Client(), Client()
    sign_in(invited(first, cast))
    says(provider, email="moved@example.com", email_verified=True, name="Seo")

    sign_in(second)

    assert who(first) == who(second) is not None


def test_nobody_gets_an_account_without_an_invitation(client: Client, provider: Provider) -> None:
    answer = sign_in(client)

    assert who(client) is None
    assert not User.objects.exists()
    assert "invitation" in answer.content.decode()


@pytest.mark.parametrize("address", ["seo@example.com", "somebody@example.com"])
def test_invitation_of_one_address_makes_no_account_for_another(
    client: Client, cast: Cast, provider: Provider, address: str
) -> None:
    own = address == "seo@example.com"

    answer = sign_in(invited(client, cast, address))

    assert User.objects.filter(email="seo@example.com").exists() is own
    assert (who(client) is not None) is own
    assert answer.status_code == (302 if own else 403)
    assert Invitation.objects.get().accounts == int(own)


@pytest.mark.parametrize("verified", [False, None, "false", "true", 1])
def test_address_that_the_provider_has_not_confirmed_leads_to_no_account(
    cast: Cast, provider: Provider, verified: object
) -> None:
    says(provider, email=cast.owner.email, email_verified=verified)
    thief, newcomer = Client(), Client()

    sign_in(thief)
    says(provider, email="seo@example.com", email_verified=verified)
    sign_in(invited(newcomer, cast))

    assert who(thief) is None
    assert who(newcomer) is None


def test_confirmed_address_leads_to_its_account(
    client: Client, cast: Cast, provider: Provider
) -> None:
    says(provider, email=cast.member.email.upper(), email_verified=True)

    sign_in(client)

    assert who(client) == cast.member


def test_who_took_an_address_before_its_owner_came_is_shut_out(
    client: Client, provider: Provider
) -> None:
    squatter = make_user("Squatter", email="seo@example.com", verified=False)

    sign_in(client)

    squatter.refresh_from_db()
    assert who(client) == squatter
    assert not squatter.has_usable_password()


def test_second_step_is_asked_for_all_the_same(
    client: Client, cast: Cast, provider: Provider
) -> None:
    cache.clear()
    with time_machine.travel(time.time() // STEP * STEP + 10, tick=False):
        secret = enable_totp(cast.member)
        says(provider, email=cast.member.email, email_verified=True)

        answer = sign_in(client)

        assert answer["Location"] == "/accounts/2fa/authenticate/"
        assert who(client) is None
        client.post(answer["Location"], {"code": totp_code(secret)})
        assert who(client) == cast.member


def test_suspended_person_stays_outside(client: Client, cast: Cast, provider: Provider) -> None:
    says(provider, email=cast.suspended.email, email_verified=True)

    sign_in(client)

    assert who(client) is None


@pytest.mark.parametrize("fault", ["audience", "issuer", "expired", "subject"])
def test_token_that_is_not_for_us_is_refused(
    client: Client, cast: Cast, provider: Provider, fault: str
) -> None:
    says(provider, email=cast.member.email, email_verified=True)
    match fault:
        case "audience":
            provider.audience = "another-client"
        case "issuer":
            provider.claims |= {"iss": "https://evil.example"}
        case "expired":
            provider.claims |= {"exp": 1}
        case "subject":
            provider.claims |= {"sub": "another"}

    answer = sign_in(client)

    assert who(client) is None
    assert "did not work" in answer.content.decode()


def test_answer_to_the_question_of_another_browser_is_refused(
    client: Client, cast: Cast, provider: Provider
) -> None:
    says(provider, email=cast.member.email, email_verified=True)
    asked = urlsplit(client.post(START)["Location"])
    connection = HTTPConnection(asked.netloc)
    connection.request("GET", f"{asked.path}?{asked.query}")
    back = urlsplit(connection.getresponse().headers["Location"])
    connection.close()
    lured = Client()

    lured.get(f"{back.path}?{back.query}")

    assert who(lured) is None


@pytest.mark.parametrize("address", ["https://evil.example/", "//evil.example/"])
def test_it_leads_on_to_own_paths_only(
    client: Client, cast: Cast, provider: Provider, address: str
) -> None:
    says(provider, email=cast.member.email, email_verified=True)

    answer = sign_in(client, f"{START}?next={address}")

    assert who(client) == cast.member
    assert "evil" not in answer["Location"]
