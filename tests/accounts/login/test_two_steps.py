"""Two-step sign-in: codes, recovery codes, and teams that require it."""

import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts.errors import Conflict, MfaRequired
from accounts.hooks import AccessRevoked
from accounts.login.mfa_secrets import find_unreadable_factors, rotate_factors
from accounts.models import AuditEntry
from accounts.permissions import VIEW, access_team
from accounts.services import create_token, remove_team_member, require_mfa
from tests.accounts.conftest import PASSWORD, Cast, Response
from tests.accounts.login.totp import STEP, enable_totp, totp_code
from tests.accounts.revocations import record_revocations

pytestmark = pytest.mark.django_db

LOGIN, CODE = "/accounts/login/", "/accounts/2fa/authenticate/"
SETUP = "/accounts/2fa/"


@pytest.fixture(autouse=True)
def _frozen_code_period() -> Iterator[None]:
    """Freeze the time: codes change every 30 seconds."""
    cache.clear()
    with time_machine.travel(time.time() // STEP * STEP + 10, tick=False):
        yield
    cache.clear()


def password_of(client: Client, cast: Cast) -> Response:
    return client.post(LOGIN, {"login": cast.member.email, "password": PASSWORD})


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def test_password_alone_does_not_sign_in_a_user_with_a_second_factor(
    client: Client, cast: Cast
) -> None:
    enable_totp(cast.member)

    answer = password_of(client, cast)

    assert answer["Location"] == CODE
    assert not is_signed_in(client)
    for path in ("/", "/me/", SETUP, f"/teams/{cast.team.pk}/", "/accounts/sessions/"):
        assert urlsplit(client.get(path)["Location"]).path == LOGIN, path
    assert client.get("/api/v1/me").status_code == 401


def test_code_of_the_app_completes_the_sign_in(client: Client, cast: Cast) -> None:
    secret = enable_totp(cast.member)
    password_of(client, cast)

    client.post(CODE, {"code": totp_code(secret)})

    assert is_signed_in(client)


def test_second_step_without_the_first_is_refused(client: Client, cast: Cast) -> None:
    secret = enable_totp(cast.member)

    answer = client.post(CODE, {"code": totp_code(secret)})

    assert urlsplit(answer["Location"]).path == LOGIN
    assert not is_signed_in(client)


def test_code_works_once(cast: Cast) -> None:
    secret = enable_totp(cast.member)
    first, second = Client(), Client()
    for browser in (first, second):
        password_of(browser, cast)
        browser.post(CODE, {"code": totp_code(secret)})

    assert is_signed_in(first)
    assert not is_signed_in(second)


def test_code_of_the_previous_period_is_rejected(client: Client, cast: Cast) -> None:
    secret = enable_totp(cast.member)
    password_of(client, cast)

    client.post(CODE, {"code": totp_code(secret, steps=-1)})

    assert not is_signed_in(client)


def test_recovery_code_works_once(cast: Cast) -> None:
    enable_totp(cast.member)
    code = RecoveryCodes.activate(cast.member).get_unused_codes()[0]
    first, second = Client(), Client()
    for browser in (first, second):
        password_of(browser, cast)
        browser.post(CODE, {"code": code})

    assert is_signed_in(first)
    assert not is_signed_in(second)


def test_sixth_code_is_refused_even_if_it_is_right(
    client: Client, cast: Cast, settings: Settings
) -> None:
    settings.ACCOUNT_RATE_LIMITS = {}
    secret = enable_totp(cast.member)
    password_of(client, cast)
    for _ in range(5):
        client.post(CODE, {"code": "000000"})

    client.post(CODE, {"code": totp_code(secret)})

    assert not is_signed_in(client)


def set_up(client: Client) -> tuple[Response, str]:
    """Set up an app on the pages; return the last response and the entered code."""
    client.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    form = client.get("/accounts/2fa/totp/activate/")
    code = totp_code(form.context["form"].secret)
    return client.post("/accounts/2fa/totp/activate/", {"code": code}, follow=True), code


def test_set_up_ends_other_sessions_and_their_connections(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    this_browser, other_browser = Client(), Client()
    for browser in (this_browser, other_browser):
        password_of(browser, cast)
    other = other_browser.session.session_key
    revoked = record_revocations(monkeypatch)

    page, _code = set_up(this_browser)

    assert page.status_code == 200
    assert len(page.context["unused_codes"]) == 10
    assert this_browser.get("/me/").status_code == 200
    assert other_browser.get("/me/").status_code == 302
    assert revoked == [AccessRevoked(user_id=cast.member.pk, session_key=other)]
    actions = list(AuditEntry.objects.filter(team=None).values_list("action", flat=True))
    assert {"user.mfa_added", "user.sessions_ended"} <= set(actions)


def test_code_of_the_set_up_does_not_sign_in(client: Client, cast: Cast) -> None:
    password_of(client, cast)
    _page, code = set_up(client)
    attacker = Client()
    password_of(attacker, cast)

    attacker.post(CODE, {"code": code})

    assert not is_signed_in(attacker)


def test_recovery_codes_are_shown_once(client: Client, cast: Cast) -> None:
    password_of(client, cast)
    page, _code = set_up(client)
    shown = page.context["unused_codes"]

    again = client.get("/accounts/2fa/recovery-codes/")

    assert shown[0] in page.content.decode()
    assert shown[0] not in again.content.decode()
    assert client.get("/accounts/2fa/recovery-codes/download/").status_code in {403, 404}


def test_secret_is_encrypted_in_the_database(client: Client, cast: Cast) -> None:
    secret = enable_totp(cast.member)
    RecoveryCodes.activate(cast.member)

    stored = str(list(Authenticator.objects.values_list("data", flat=True)))

    assert secret not in stored
    assert stored.count("gAAAA") == 2  # the prefix of Fernet tokens


def test_secret_is_reencrypted_and_unreadable_without_its_key(
    cast: Cast, settings: Settings
) -> None:
    secret = enable_totp(cast.member)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "a new secret key", [settings.SECRET_KEY]
    assert rotate_factors() == 1
    settings.SECRET_KEY_FALLBACKS = []
    follower, lost = Client(), Client()
    password_of(follower, cast)
    follower.post(CODE, {"code": totp_code(secret)})
    settings.SECRET_KEY = "a wrong secret key"
    password_of(lost, cast)

    answer = lost.post(CODE, {"code": totp_code(secret)})

    assert answer.status_code == 503
    assert not is_signed_in(lost)
    assert rotate_factors() == 0
    assert len(find_unreadable_factors()) == 1
    settings.SECRET_KEY = "a new secret key"
    assert is_signed_in(follower)


@pytest.mark.parametrize(
    "path",
    [
        "totp/activate/",
        "totp/deactivate/",
        "recovery-codes/generate/",
        "webauthn/add/",
    ],
)
def test_change_of_factors_requires_the_password(cast: Cast, path: str) -> None:
    """`force_login` creates a session without a recent password."""
    client = Client()
    client.force_login(cast.member)
    if path != "totp/activate/":
        enable_totp(cast.member)
    before = Authenticator.objects.count()

    answer = client.post(f"/accounts/2fa/{path}", {"code": "000000"})

    assert urlsplit(answer["Location"]).path == reverse("account_reauthenticate")
    assert Authenticator.objects.count() == before


def test_removing_the_last_factor_closes_connections_where_a_team_requires_one(
    client: Client, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    enable_totp(cast.owner)
    password_of(client, cast)
    set_up(client)
    require_mfa(user=cast.owner, team_id=cast.team.pk, required=True)
    revoked = record_revocations(monkeypatch)

    client.post("/accounts/2fa/totp/deactivate/")

    assert AccessRevoked(user_id=cast.member.pk) in revoked


def test_removing_the_app_removes_the_recovery_codes_and_is_audited(
    client: Client, cast: Cast
) -> None:
    password_of(client, cast)
    set_up(client)

    client.post("/accounts/2fa/totp/deactivate/")

    assert not Authenticator.objects.filter(user=cast.member).exists()
    assert AuditEntry.objects.filter(action="user.mfa_removed").count() == 2


def test_team_that_requires_mfa_refuses_members_without_it(cast: Cast) -> None:
    enable_totp(cast.owner)
    _token, secret = create_token(user=cast.member, name="script", scopes=["admin"])
    browser = Client()
    browser.force_login(cast.member)

    require_mfa(user=cast.owner, team_id=cast.team.pk, required=True)

    page = browser.get(reverse("accounts:people", args=[cast.team.pk]))
    assert page["Location"] == SETUP
    rooms = f"/api/v1/teams/{cast.team.pk}/rooms"
    for headers in ({}, {"authorization": f"Bearer {secret}"}):
        answer = browser.get(rooms, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    enable_totp(cast.member)
    assert browser.get(rooms).status_code == 200
    assert access_team(cast.owner, cast.team.pk, VIEW) == cast.team


def test_stranger_does_not_learn_that_a_team_requires_mfa(cast: Cast) -> None:
    enable_totp(cast.owner)
    require_mfa(user=cast.owner, team_id=cast.team.pk, required=True)
    browser = Client()
    browser.force_login(cast.stranger)

    assert browser.get(reverse("accounts:people", args=[cast.team.pk])).status_code == 404


def test_requiring_mfa_closes_connections_of_members_without_it(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    enable_totp(cast.owner)
    enable_totp(cast.admin)
    remove_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.suspended.pk)
    revoked = record_revocations(monkeypatch)

    require_mfa(user=cast.owner, team_id=cast.team.pk, required=True)

    assert {event.user_id for event in revoked} == {cast.member.pk, cast.guest.pk}


def test_owner_without_mfa_cannot_require_it(cast: Cast) -> None:
    with pytest.raises(Conflict):
        require_mfa(user=cast.owner, team_id=cast.team.pk, required=True)


def test_recovery_codes_alone_are_no_second_factor(cast: Cast) -> None:
    enable_totp(cast.owner)
    RecoveryCodes.activate(cast.member)
    require_mfa(user=cast.owner, team_id=cast.team.pk, required=True)

    with pytest.raises(MfaRequired):
        access_team(cast.member, cast.team.pk, VIEW)


def test_staff_without_mfa_are_redirected_to_its_set_up(client: Client, cast: Cast) -> None:
    cast.owner.is_staff = cast.owner.is_superuser = True
    cast.owner.save()
    client.force_login(cast.owner)

    before = client.get("/admin/accounts/user/", follow=True)
    enable_totp(cast.owner)
    after = client.get("/admin/accounts/user/")

    assert before.redirect_chain[-1][0] == SETUP
    assert after.status_code == 200


def test_user_ends_all_other_sessions(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    this_browser, other_browser = Client(), Client(HTTP_USER_AGENT="<b>Elsewhere</b>")
    for browser in (this_browser, other_browser):
        password_of(browser, cast)
    revoked = record_revocations(monkeypatch)
    listed = this_browser.get("/accounts/sessions/").content.decode()

    this_browser.post("/accounts/sessions/")

    assert "&lt;b&gt;Elsewhere" in listed
    assert [event.session_key for event in revoked] == [other_browser.session.session_key]
    assert other_browser.get("/me/").status_code == 302
    assert this_browser.get("/me/").status_code == 200


@pytest.mark.parametrize("form", [{}, {"required": ""}, {"required": "YES"}, {"required": "off"}])
def test_invalid_form_does_not_switch_the_requirement_off(cast: Cast, form: dict[str, str]) -> None:
    enable_totp(cast.owner)
    require_mfa(user=cast.owner, team_id=cast.team.pk, required=True)
    browser = Client()
    browser.force_login(cast.owner)
    page = reverse("accounts:team_mfa", args=[cast.team.pk])

    answer = browser.post(page, form)

    cast.team.refresh_from_db()
    assert (answer.status_code, cast.team.require_mfa) == (400, True)
    browser.post(page, {"required": "no"})
    cast.team.refresh_from_db()
    assert not cast.team.require_mfa
