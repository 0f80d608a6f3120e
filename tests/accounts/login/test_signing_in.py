"""Sign-in, sign-out, password reset and change of email, with attacks on each."""

import re
from collections.abc import Iterator
from html import unescape
from urllib.parse import urlsplit

import pytest
import time_machine
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.mail import EmailMessage
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from accounts.hooks import AccessRevoked
from accounts.models import AuditEntry
from accounts.services import create_token, user_for_token
from tests.accounts.conftest import PASSWORD, Cast, CountingHasher, Response, without_csrf
from tests.accounts.revocations import record_revocations

pytestmark = pytest.mark.django_db

LOGIN = "/accounts/login/"
RESET = "/accounts/password/reset/"


@pytest.fixture
def _limited(settings: Settings) -> Iterator[None]:
    """Enable the rate limits of allauth, and freeze the time: no window ends during a test."""
    settings.ACCOUNT_RATE_LIMITS = {}
    cache.clear()
    with time_machine.travel(timezone.now(), tick=False):
        yield
    cache.clear()


def sign_in(client: Client, email: str, password: str = PASSWORD) -> Response:
    return client.post(LOGIN, {"login": email, "password": password})


def test_user_signs_in_with_an_email_in_any_case(client: Client, cast: Cast) -> None:
    answer = sign_in(client, "MEMBER@Example.com")

    assert answer.status_code == 302
    assert client.session["_auth_user_id"] == str(cast.member.pk)


def test_sign_in_changes_the_session_key(client: Client, cast: Cast) -> None:
    session = client.session
    session["planted"] = "by an attacker"
    session.save()
    planted = str(session.session_key)
    client.cookies["maru_session"] = planted

    sign_in(client, cast.member.email)

    assert client.session.session_key != planted
    assert client.cookies["maru_session"].value != planted


def test_session_cookie_is_http_only_and_same_site(client: Client, cast: Cast) -> None:
    cookie = sign_in(client, cast.member.email).cookies["maru_session"]

    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"


@pytest.mark.usefixtures("_limited")
def test_sixth_sign_in_attempt_is_refused_even_with_the_right_password(
    client: Client, cast: Cast
) -> None:
    for _ in range(5):
        sign_in(client, cast.member.email, "wrong-password")

    answer = sign_in(client, cast.member.email)

    assert "_auth_user_id" not in client.session
    assert "Too many attempts" in answer.content.decode()


@pytest.mark.usefixtures("_limited")
def test_successful_sign_in_of_another_account_does_not_reset_the_limit(cast: Cast) -> None:
    for _ in range(5):
        sign_in(Client(), cast.member.email, "wrong-password")
        sign_in(Client(), cast.stranger.email)

    attacked = Client()
    sign_in(attacked, cast.member.email)

    assert "_auth_user_id" not in attacked.session


@pytest.mark.usefixtures("_limited")
@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
def test_forged_ip_header_does_not_reset_the_limit(cast: Cast, header: str) -> None:
    """One IP has 10 attempts a minute; forwarding headers do not change the IP."""
    for number in range(10):
        forged = {header: f"for=10.0.0.{number}" if header == "Forwarded" else f"10.0.0.{number}"}
        Client(headers=forged).post(LOGIN, {"login": f"x{number}@example.com", "password": "no"})

    attacked = Client(headers={header: "10.0.0.99"})
    sign_in(attacked, cast.member.email)

    assert "_auth_user_id" not in attacked.session


@pytest.mark.usefixtures("_limited")
def test_another_ip_has_its_own_limit(cast: Cast) -> None:
    """Control of the test above: the limit counts by IP."""
    for number in range(10):
        sign_in(Client(), f"x{number}@example.com", "no")

    other_client = Client(REMOTE_ADDR="192.0.2.1")
    sign_in(other_client, cast.member.email)

    assert other_client.session["_auth_user_id"] == str(cast.member.pk)


@pytest.mark.usefixtures("_limited")
def test_another_host_header_does_not_reset_the_limit(cast: Cast) -> None:
    for number in range(5):
        attacker = Client(HTTP_HOST=f"localhost:{number + 1}", REMOTE_ADDR=f"192.0.2.{number}")
        sign_in(attacker, cast.member.email, "wrong-password")

    attacked = Client(HTTP_HOST="localhost:9999", REMOTE_ADDR="192.0.2.99")
    sign_in(attacked, cast.member.email)

    assert "_auth_user_id" not in attacked.session


@pytest.mark.usefixtures("_limited")
def test_current_password_cannot_be_guessed_in_a_session(cast: Cast) -> None:
    client = Client()
    client.force_login(cast.member)
    change = "/accounts/password/change/"
    for _ in range(5):
        client.post(change, {"oldpassword": "guess", "password1": "another-good-password"})

    right = {"oldpassword": PASSWORD, "password1": "another-good-password"}
    answer = client.post(change, right)

    assert answer.status_code == 429
    cast.member.refresh_from_db()
    assert cast.member.check_password(PASSWORD)


def test_unknown_email_and_wrong_password_give_the_same_page(client: Client, cast: Cast) -> None:
    known = sign_in(client, cast.member.email, "wrong-password")
    unknown = sign_in(client, "nobody.at.all@example.com", "wrong-password")

    assert known.status_code == unknown.status_code == 200
    assert without_csrf(known).replace(cast.member.email, "") == without_csrf(unknown).replace(
        "nobody.at.all@example.com", ""
    )


def test_unknown_email_costs_as_many_hashes_as_a_wrong_password(
    client: Client, hasher: type[CountingHasher], cast: Cast
) -> None:
    def hashings(email: str) -> int:
        hasher.count = 0
        sign_in(client, email, "wrong-password")
        return hasher.count

    assert hashings("nobody.at.all@example.com") == hashings(cast.member.email) == 1


def test_suspended_user_cannot_sign_in(client: Client, cast: Cast) -> None:
    answer = sign_in(client, cast.suspended.email)

    assert answer["Location"] == reverse("account_inactive")
    assert "_auth_user_id" not in client.session


def test_suspension_ends_the_session(client: Client, cast: Cast) -> None:
    client.force_login(cast.member)
    cast.member.is_active = False
    cast.member.save()

    answer = client.get(reverse("accounts:profile"))

    assert urlsplit(answer["Location"]).path == LOGIN


FOREIGN_URLS = [
    "https://evil.example/",
    "//evil.example/",
    "///evil.example/",
    "////evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "\t//evil.example",
    " //evil.example",
    "http:evil.example",
    "http:///evil.example",
    "https:/evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "evil.example",
    "//localhost@evil.example",
    "http://testserver@evil.example/",
    "http://testserver.evil.example/",
    "http://testserver/",
    "http://localhost:1/",
    "%2f%2fevil.example",
    "//evil%E3%80%82example",
    "/%5cevil.example",
    "\x00//evil.example",
]


@pytest.mark.parametrize("address", FOREIGN_URLS)
@pytest.mark.parametrize("page", [LOGIN, "/accounts/logout/"])
def test_next_url_with_a_foreign_host_is_ignored(
    client: Client, cast: Cast, page: str, address: str
) -> None:
    if page != LOGIN:
        client.force_login(cast.member)
    fields = {"login": cast.member.email, "password": PASSWORD, "next": address}

    target = client.post(page, fields)["Location"]

    assert urlsplit(target).netloc == ""
    assert re.match(r"/(?![/\\])", target)
    assert "evil" not in target or target == "/%5cevil.example"


def test_next_url_with_an_own_path_is_followed(client: Client, cast: Cast) -> None:
    fields = {"login": cast.member.email, "password": PASSWORD, "next": "/me/tokens/"}

    assert client.post(LOGIN, fields)["Location"] == "/me/tokens/"


@pytest.mark.parametrize("address", ["https://evil.example/", "//evil.example/"])
def test_language_form_works_before_sign_in_and_redirects_to_own_paths(
    client: Client, address: str
) -> None:
    chosen = client.post(reverse("set_language"), {"language": "ko", "next": LOGIN})
    redirect = client.post(reverse("set_language"), {"language": "en", "next": address})

    assert chosen["Location"] == LOGIN
    assert chosen.cookies["django_language"].value == "ko"
    assert "evil" not in redirect["Location"]


def test_sign_out_ends_the_session_and_reports_it(
    client: Client, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoked = record_revocations(monkeypatch)
    client.force_login(cast.member)
    key = client.session.session_key

    client.post("/accounts/logout/")

    assert "_auth_user_id" not in client.session
    assert revoked == [AccessRevoked(user_id=cast.member.pk, session_key=key)]


def test_sign_out_needs_a_post(client: Client, cast: Cast) -> None:
    client.force_login(cast.member)

    client.get("/accounts/logout/")

    assert "_auth_user_id" in client.session


def link_in(mail: EmailMessage) -> str:
    found = re.search(r"https?://\S+", str(mail.body).partition("choose one:")[2])
    assert found
    return found.group()


def test_forgotten_password_is_reset_by_mail(
    client: Client, cast: Cast, mailoutbox: list[EmailMessage]
) -> None:
    _token, secret = create_token(user=cast.member, name="script")
    signed_in = Client()
    signed_in.force_login(cast.member)
    client.post(RESET, {"email": cast.member.email})

    form = client.get(urlsplit(link_in(mailoutbox[0])).path, follow=True)
    answer = client.post(form.request["PATH_INFO"], {"password1": "another-good-password"})

    assert answer.status_code == 302
    cast.member.refresh_from_db()
    assert cast.member.check_password("another-good-password")
    assert user_for_token(secret) is None
    assert signed_in.get(reverse("accounts:profile")).status_code == 302


def test_reset_link_works_once(client: Client, cast: Cast, mailoutbox: list[EmailMessage]) -> None:
    client.post(RESET, {"email": cast.member.email})
    path = urlsplit(link_in(mailoutbox[0])).path
    form = client.get(path, follow=True)
    client.post(form.request["PATH_INFO"], {"password1": "another-good-password"})

    again = Client().get(path, follow=True)

    assert "cannot be used" in again.content.decode()


def test_url_of_the_reset_form_does_not_contain_the_key(
    client: Client, cast: Cast, mailoutbox: list[EmailMessage]
) -> None:
    client.post(RESET, {"email": cast.member.email})
    path = urlsplit(link_in(mailoutbox[0])).path

    answer = client.get(path)

    assert answer["Location"].endswith("set-password/")


@pytest.mark.parametrize("host", ["localhost:6666", "127.0.0.1"])
def test_mail_does_not_contain_the_host_header(
    client: Client, cast: Cast, mailoutbox: list[EmailMessage], settings: Settings, host: str
) -> None:
    client.post(RESET, {"email": cast.member.email}, HTTP_HOST=host)

    assert link_in(mailoutbox[0]).startswith(settings.PUBLIC_URL + "/accounts/")
    assert "6666" not in mailoutbox[0].body


def test_unknown_host_header_is_rejected(
    client: Client, cast: Cast, mailoutbox: list[EmailMessage]
) -> None:
    answer = client.post(RESET, {"email": cast.member.email}, HTTP_HOST="evil.example")

    assert answer.status_code == 400
    assert not mailoutbox


def test_reset_page_is_the_same_for_each_email(
    client: Client, cast: Cast, mailoutbox: list[EmailMessage]
) -> None:
    answers = [
        client.post(RESET, {"email": email}, follow=True)
        for email in (cast.member.email, cast.suspended.email, "nobody.at.all@example.com")
    ]

    assert len({without_csrf(answer) for answer in answers}) == 1
    assert [len(answer.redirect_chain) for answer in answers] == [1, 1, 1]
    assert len(mailoutbox) == 3


def test_weak_password_is_rejected(client: Client, cast: Cast) -> None:
    client.force_login(cast.member)

    page = client.post(
        "/accounts/password/change/", {"oldpassword": PASSWORD, "password1": "password12"}
    )

    assert "too common" in unescape(page.content.decode())


def test_new_password_ends_other_sessions_and_keeps_this_one(client: Client, cast: Cast) -> None:
    other = Client()
    for browser in (client, other):
        sign_in(browser, cast.member.email)

    client.post(
        "/accounts/password/change/",
        {"oldpassword": PASSWORD, "password1": "another-good-password"},
    )

    assert client.get(reverse("accounts:profile")).status_code == 200
    assert other.get(reverse("accounts:profile")).status_code == 302
    # The periodic check of sockets reads these rows, so a lost notification does not matter.
    assert [row.pk for row in Session.objects.all()] == [client.session.session_key]
    assert [row.session_key for row in UserSession.objects.all()] == [client.session.session_key]


def test_email_changes_only_after_it_is_verified(
    client: Client, cast: Cast, mailoutbox: list[EmailMessage]
) -> None:
    client.force_login(cast.member)
    redirect = client.post("/accounts/email/", {"email": "moved@example.com", "action_add": ""})

    client.post(redirect["Location"], {"password": PASSWORD})

    cast.member.refresh_from_db()
    assert cast.member.email == "member@example.com"
    found = re.search(r"http\S+confirm-email\S+", str(mailoutbox[0].body))
    assert found
    client.post(urlsplit(found.group()).path)
    cast.member.refresh_from_db()
    assert cast.member.email == "moved@example.com"


@pytest.mark.parametrize("confirming_browser", ["same", "other"])
def test_new_email_ends_sessions_and_tokens_of_the_old_one(
    client: Client, cast: Cast, mailoutbox: list[EmailMessage], confirming_browser: str
) -> None:
    _token, secret = create_token(user=cast.member, name="script")
    other = Client()
    for browser in (client, other):
        sign_in(browser, cast.member.email)
    redirect = client.post("/accounts/email/", {"email": "moved@example.com", "action_add": ""})
    client.post(redirect["Location"], {"password": PASSWORD})
    found = re.search(r"http\S+confirm-email\S+", str(mailoutbox[0].body))
    assert found

    (client if confirming_browser == "same" else Client()).post(urlsplit(found.group()).path)

    status = client.get(reverse("accounts:profile")).status_code
    assert status == (200 if confirming_browser == "same" else 302)
    assert other.get(reverse("accounts:profile")).status_code == 302
    assert user_for_token(secret) is None
    entry = AuditEntry.objects.get(action="user.address_changed")
    assert entry.before == {"email": "member@example.com"}
    assert entry.after == {"email": "moved@example.com"}


def test_change_of_email_requires_the_password(
    client: Client, cast: Cast, mailoutbox: list[EmailMessage]
) -> None:
    client.force_login(cast.member)
    redirect = client.post("/accounts/email/", {"email": "moved@example.com", "action_add": ""})

    answer = client.post(redirect["Location"], {"password": "a guess"})

    assert urlsplit(redirect["Location"]).path == reverse("account_reauthenticate")
    assert "The password is wrong" in answer.content.decode()
    assert not mailoutbox


def test_unreachable_mail_server_is_reported(
    client: Client, cast: Cast, settings: Settings
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9

    answer = client.post(RESET, {"email": cast.member.email})

    assert answer.status_code == 503
