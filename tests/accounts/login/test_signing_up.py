"""Sign-up: by invitation unless it is open, and without permissions."""

import re
from urllib.parse import urlsplit

import pytest
from django.core.mail import EmailMessage
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts.models import TeamMember, TeamRole, User
from accounts.services import invite, revoke_invitation
from tests.accounts.concurrency import run_concurrently
from tests.accounts.conftest import PASSWORD, Cast, CountingHasher, Response, without_csrf

pytestmark = pytest.mark.django_db

SIGNUP = "/accounts/signup/"
INVITATION_URL = "/invitations/"


@pytest.fixture
def _open(settings: Settings) -> None:
    """Open sign-up, which makes email verification mandatory."""
    settings.SIGNUP = "open"
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"


def sign_up(client: Client, email: str, **more: str) -> Response:
    return client.post(SIGNUP, {"name": "Hayun Kim", "email": email, "password1": PASSWORD, **more})


def test_sign_up_needs_an_invitation(client: Client) -> None:
    page = client.get(SIGNUP)
    sign_up(client, "a@example.com")

    assert "You need an invitation" in page.content.decode()
    assert not User.objects.exists()


def test_invited_user_signs_up_and_joins(client: Client, cast: Cast) -> None:
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk, role="guest")

    shown = client.get(reverse("accounts:invitation_link", args=[token]), follow=True)
    signed_up = sign_up(client, "hayun@example.com", next=INVITATION_URL)
    joined = client.post(INVITATION_URL)

    assert cast.team.name in shown.content.decode()
    assert cast.admin.name in shown.content.decode()
    assert signed_up["Location"] == INVITATION_URL
    assert joined.status_code == 302
    member = TeamMember.objects.get(user__email="hayun@example.com")
    assert (member.team, member.role) == (cast.team, TeamRole.GUEST)


def test_invited_user_with_an_account_signs_in_and_joins(client: Client, cast: Cast) -> None:
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk)
    client.get(reverse("accounts:invitation_link", args=[token]))

    signed_in = client.post("/accounts/login/", {"login": cast.nobody.email, "password": PASSWORD})
    client.post(INVITATION_URL)

    assert signed_in["Location"] == INVITATION_URL
    assert TeamMember.objects.get(user=cast.nobody).team == cast.team


def test_opening_an_invitation_does_not_accept_it(client: Client, cast: Cast) -> None:
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk)
    client.force_login(cast.nobody)

    client.get(reverse("accounts:invitation_link", args=[token]), follow=True)

    assert not TeamMember.objects.filter(user=cast.nobody).exists()


def test_invitation_link_redirects_to_a_url_without_the_token(client: Client, cast: Cast) -> None:
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk)

    answer = client.get(reverse("accounts:invitation_link", args=[token]))
    page = client.get(answer["Location"])

    assert answer["Location"] == INVITATION_URL
    assert token not in page.content.decode()
    assert page["Referrer-Policy"] == "same-origin"


def test_token_is_not_in_the_session(client: Client, cast: Cast) -> None:
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk)

    client.get(reverse("accounts:invitation_link", args=[token]))

    assert token not in str(dict(client.session))


def test_unknown_used_and_revoked_links_give_the_same_page(client: Client, cast: Cast) -> None:
    _invitation, used = invite(user=cast.admin, team_id=cast.team.pk)
    client.get(reverse("accounts:invitation_link", args=[used]))
    client.force_login(cast.nobody)
    client.get(reverse("accounts:invitation_link", args=[used]))
    client.post(INVITATION_URL)
    invitation, revoked = invite(user=cast.admin, team_id=cast.team.pk)
    revoke_invitation(user=cast.admin, team_id=cast.team.pk, invitation_id=invitation.pk)

    pages = [
        Client().get(reverse("accounts:invitation_link", args=[token]))
        for token in (used, revoked, "guess")
    ]

    assert {page.status_code for page in pages} == {404}
    assert len({without_csrf(page).replace(page.request["PATH_INFO"], "") for page in pages}) == 1


def test_revoked_invitation_no_longer_allows_sign_up(client: Client, cast: Cast) -> None:
    invitation, token = invite(user=cast.admin, team_id=cast.team.pk)
    client.get(reverse("accounts:invitation_link", args=[token]))
    revoke_invitation(user=cast.admin, team_id=cast.team.pk, invitation_id=invitation.pk)

    sign_up(client, "late@example.com")

    assert not User.objects.filter(email="late@example.com").exists()


def test_invited_user_cannot_choose_the_role(client: Client, cast: Cast) -> None:
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk, role="guest")
    client.force_login(cast.nobody)
    client.get(reverse("accounts:invitation_link", args=[token]))

    client.post(INVITATION_URL, {"role": "owner", "team": str(cast.other_team.pk)})

    member = TeamMember.objects.get(user=cast.nobody)
    assert (member.team, member.role) == (cast.team, TeamRole.GUEST)


def test_sign_up_ignores_fields_outside_of_the_form(client: Client, cast: Cast) -> None:
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk)
    client.get(reverse("accounts:invitation_link", args=[token]))

    sign_up(client, "a@example.com", is_staff="on", is_superuser="on", handle="owner", id="1")

    user = User.objects.get(email="a@example.com")
    assert (user.is_staff, user.is_superuser, user.handle) == (False, False, "hayun-kim")


@pytest.mark.parametrize("address", ["other@example.com", "hayun@example.com.example.net"])
def test_invitation_for_one_email_creates_no_other_account(
    client: Client, cast: Cast, address: str
) -> None:
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk, email="Hayun@example.com")
    client.get(reverse("accounts:invitation_link", args=[token]))

    refused = sign_up(client, address)
    signed_up = sign_up(client, "hayun@EXAMPLE.com")

    assert "another email" in refused.content.decode()
    assert not User.objects.filter(email=address).exists()
    assert signed_up["Location"] == INVITATION_URL
    assert User.objects.filter(email="hayun@example.com").exists()


def test_invitation_creates_three_accounts_for_each_use(cast: Cast) -> None:
    """Users mistype their email and sign up again."""
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk, max_uses=2)
    before = User.objects.count()

    answers = []
    for number in range(8):
        browser = Client(REMOTE_ADDR=f"192.0.2.{number + 1}")
        browser.get(reverse("accounts:invitation_link", args=[token]))
        answers.append(sign_up(browser, f"sock{number}@example.com").status_code)

    assert answers == [302] * 6 + [403] * 2
    assert User.objects.count() == before + 6


@pytest.mark.usefixtures("_open")
def test_open_sign_up_needs_no_invitation(cast: Cast) -> None:
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk, email="hayun@example.com")
    browser = Client()
    browser.get(reverse("accounts:invitation_link", args=[token]))

    assert sign_up(browser, "other@example.com").status_code == 302


@pytest.mark.usefixtures("_open")
def test_open_sign_up_needs_a_verified_email(
    client: Client, mailoutbox: list[EmailMessage]
) -> None:
    answer = sign_up(client, "hayun@example.com")

    assert answer["Location"] == reverse("account_email_verification_sent")
    assert "_auth_user_id" not in client.session
    found = re.search(r"http\S+confirm-email\S+", str(mailoutbox[0].body))
    assert found
    client.post(urlsplit(found.group()).path)
    assert "_auth_user_id" in client.session


@pytest.mark.usefixtures("_open")
def test_account_with_an_unverified_email_cannot_sign_in(client: Client) -> None:
    sign_up(Client(), "hayun@example.com")

    client.post("/accounts/login/", {"login": "hayun@example.com", "password": PASSWORD})

    assert "_auth_user_id" not in client.session
    assert client.get("/api/v1/me").status_code == 401


@pytest.mark.usefixtures("_open")
def test_sign_up_does_not_reveal_existing_accounts(
    cast: Cast, mailoutbox: list[EmailMessage]
) -> None:
    known, unknown = Client(), Client()

    answers = [sign_up(known, cast.member.email), sign_up(unknown, "new@example.com")]

    assert {answer["Location"] for answer in answers} == {
        reverse("account_email_verification_sent")
    }
    assert [mail.to for mail in mailoutbox] == [[cast.member.email], ["new@example.com"]]
    assert known.cookies.keys() == unknown.cookies.keys()


@pytest.mark.usefixtures("_open")
def test_sign_up_hashes_a_password_for_an_email_with_an_account(
    cast: Cast, hasher: type[CountingHasher]
) -> None:
    def hashings(email: str) -> int:
        hasher.count = 0
        sign_up(Client(), email)
        return hasher.count

    assert hashings(cast.member.email) == hashings("new@example.com") == 1


@pytest.mark.usefixtures("_open")
@pytest.mark.django_db(transaction=True)
def test_thirty_concurrent_first_sign_ups_create_no_admin() -> None:
    """The first account of an installation gets no permissions."""

    def first(number: int) -> int:
        browser = Client(REMOTE_ADDR=f"192.0.2.{number + 1}")
        return int(sign_up(browser, f"first{number}@example.com").status_code)

    answers = run_concurrently(first, range(30), ZeroDivisionError)

    assert answers == [302] * 30
    assert User.objects.count() == 30
    assert not User.objects.filter(is_staff=True).exists()
    assert not User.objects.filter(is_superuser=True).exists()
    assert not TeamMember.objects.exists()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "\u200b\u200b"}, "Enter a name with at least one visible character."),
        ({"password1": "short"}, "too short"),
        ({"email": "nonsense"}, "valid email address"),
    ],
)
@pytest.mark.usefixtures("_open")
def test_error_is_shown_at_its_field(client: Client, fields: dict[str, str], words: str) -> None:
    answer = sign_up(client, **{"email": "a@example.com", **fields})

    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert not User.objects.exists()
