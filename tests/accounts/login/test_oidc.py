"""Sign-in through an OpenID Connect provider, and its refusals."""

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
from tests.accounts.conftest import Cast, Response, make_user
from tests.accounts.login.totp import STEP, enable_totp, totp_code
from tests.oidc import CLIENT_ID, CLIENT_SECRET, OidcProvider, run_provider

pytestmark = pytest.mark.django_db

START = "/accounts/oidc/oidc/login/"


@pytest.fixture
def provider(settings: Settings) -> Iterator[OidcProvider]:
    """A provider that signs in `seo@example.com` with a verified email."""
    with run_provider() as provider:
        env = Env(
            oidc_issuer=provider.issuer,
            oidc_client_id=CLIENT_ID,
            oidc_client_secret=SecretStr(CLIENT_SECRET),
            oidc_name="Company",
        )
        settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": openid_connect(env)}
        provider.claims = {"sub": "seo-1"}
        set_claims(provider, email="seo@example.com", email_verified=True, name="Seo")
        yield provider


def set_claims(provider: OidcProvider, **claims: object) -> None:
    provider.userinfo = {"sub": "seo-1", **claims}


def sign_in(client: Client, start: str = START) -> Response:
    """Follow the redirects to the provider and back, as a browser does."""
    authorization = urlsplit(client.post(start)["Location"])
    connection = HTTPConnection(authorization.netloc)
    connection.request("GET", f"{authorization.path}?{authorization.query}")
    callback = urlsplit(connection.getresponse().headers["Location"])
    connection.close()
    return client.get(f"{callback.path}?{callback.query}")


def signed_in_user(client: Client) -> User | None:
    key = client.session.get("_auth_user_id")
    return User.objects.get(pk=key) if key else None


def invited(client: Client, cast: Cast, address: str = "") -> Client:
    _invitation, token = invite(user=cast.owner, team_id=cast.team.pk, email=address)
    client.get(f"/invitations/{token}/")
    return client


def test_sign_in_page_has_a_button_for_a_configured_provider(
    client: Client, provider: OidcProvider
) -> None:
    assert "Sign in with Company" in client.get("/accounts/login/").content.decode()


def test_sign_in_page_has_no_button_without_a_provider(client: Client) -> None:
    assert "Sign in with Company" not in client.get("/accounts/login/").content.decode()
    assert client.post(START).status_code == 404


def test_invited_user_gets_an_account(client: Client, cast: Cast, provider: OidcProvider) -> None:
    answer = sign_in(invited(client, cast))

    user = signed_in_user(client)
    assert user is not None
    assert (user.email, user.name, user.handle) == ("seo@example.com", "Seo", "seo")
    assert not user.has_usable_password()
    assert answer["Location"] == "/invitations/"


def test_second_sign_in_uses_the_same_account(cast: Cast, provider: OidcProvider) -> None:
    first, second = Client(), Client()
    sign_in(invited(first, cast))
    set_claims(provider, email="moved@example.com", email_verified=True, name="Seo")

    sign_in(second)

    assert signed_in_user(first) == signed_in_user(second) is not None


def test_sign_in_without_an_invitation_creates_no_account(
    client: Client, provider: OidcProvider
) -> None:
    answer = sign_in(client)

    assert signed_in_user(client) is None
    assert not User.objects.exists()
    assert "invitation" in answer.content.decode()


@pytest.mark.parametrize("address", ["seo@example.com", "other@example.com"])
def test_invitation_for_another_email_creates_no_account(
    client: Client, cast: Cast, provider: OidcProvider, address: str
) -> None:
    own = address == "seo@example.com"

    answer = sign_in(invited(client, cast, address))

    assert User.objects.filter(email="seo@example.com").exists() is own
    assert (signed_in_user(client) is not None) is own
    assert answer.status_code == (302 if own else 403)
    assert Invitation.objects.get().accounts == int(own)


@pytest.mark.parametrize("verified", [False, None, "false", "true", 1])
def test_unverified_email_signs_in_to_no_account(
    cast: Cast, provider: OidcProvider, verified: object
) -> None:
    set_claims(provider, email=cast.owner.email, email_verified=verified)
    uninvited, invitee = Client(), Client()

    sign_in(uninvited)
    set_claims(provider, email="seo@example.com", email_verified=verified)
    sign_in(invited(invitee, cast))

    assert signed_in_user(uninvited) is None
    assert signed_in_user(invitee) is None


def test_verified_email_signs_in_to_its_account(
    client: Client, cast: Cast, provider: OidcProvider
) -> None:
    set_claims(provider, email=cast.member.email.upper(), email_verified=True)

    sign_in(client)

    assert signed_in_user(client) == cast.member


def test_unverified_account_with_the_email_loses_its_password(
    client: Client, provider: OidcProvider
) -> None:
    account = make_user("Squatter", email="seo@example.com", verified=False)

    sign_in(client)

    account.refresh_from_db()
    assert signed_in_user(client) == account
    assert not account.has_usable_password()


def test_provider_sign_in_requires_the_second_factor(
    client: Client, cast: Cast, provider: OidcProvider
) -> None:
    cache.clear()
    with time_machine.travel(time.time() // STEP * STEP + 10, tick=False):
        secret = enable_totp(cast.member)
        set_claims(provider, email=cast.member.email, email_verified=True)

        answer = sign_in(client)

        assert answer["Location"] == "/accounts/2fa/authenticate/"
        assert signed_in_user(client) is None
        client.post(answer["Location"], {"code": totp_code(secret)})
        assert signed_in_user(client) == cast.member


def test_suspended_user_cannot_sign_in(client: Client, cast: Cast, provider: OidcProvider) -> None:
    set_claims(provider, email=cast.suspended.email, email_verified=True)

    sign_in(client)

    assert signed_in_user(client) is None


@pytest.mark.parametrize("fault", ["audience", "issuer", "expired", "subject"])
def test_id_token_for_another_client_is_rejected(
    client: Client, cast: Cast, provider: OidcProvider, fault: str
) -> None:
    set_claims(provider, email=cast.member.email, email_verified=True)
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

    assert signed_in_user(client) is None
    assert "Sign-in failed" in answer.content.decode()


def test_callback_in_another_browser_is_rejected(
    client: Client, cast: Cast, provider: OidcProvider
) -> None:
    set_claims(provider, email=cast.member.email, email_verified=True)
    authorization = urlsplit(client.post(START)["Location"])
    connection = HTTPConnection(authorization.netloc)
    connection.request("GET", f"{authorization.path}?{authorization.query}")
    callback = urlsplit(connection.getresponse().headers["Location"])
    connection.close()
    other_browser = Client()

    other_browser.get(f"{callback.path}?{callback.query}")

    assert signed_in_user(other_browser) is None


@pytest.mark.parametrize("address", ["https://evil.example/", "//evil.example/"])
def test_next_url_must_be_an_own_path(
    client: Client, cast: Cast, provider: OidcProvider, address: str
) -> None:
    set_claims(provider, email=cast.member.email, email_verified=True)

    answer = sign_in(client, f"{START}?next={address}")

    assert signed_in_user(client) == cast.member
    assert "evil" not in answer["Location"]
