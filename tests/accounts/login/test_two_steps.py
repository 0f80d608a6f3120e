"""Signing in by two steps: what is asked, what is taken once only, and teams that ask for it."""

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
from accounts.login.adapters import reencrypt_mfa_secrets
from accounts.models import AuditEntry
from accounts.permissions import VIEW, access_team
from accounts.services import create_token, remove_team_member, require_mfa
from tests.accounts.conftest import PASSWORD, Answer, Cast
from tests.accounts.login.totp import STEP, enable_totp, totp_code
from tests.accounts.revocations import record_revocations

pytestmark = pytest.mark.django_db

LOGIN, CODE = "/accounts/login/", "/accounts/2fa/authenticate/"
SETUP = "/accounts/2fa/"


@pytest.fixture(autouse=True)
def _middle_of_a_step() -> Iterator[None]:
    """Codes change every half minute: not while a test looks at one."""
    cache.clear()
    with time_machine.travel(time.time() // STEP * STEP + 10, tick=False):
        yield
    cache.clear()


def password_of(client: Client, cast: Cast) -> Answer:
    return client.post(LOGIN, {"login": cast.member.email, "password": PASSWORD})


def require_user(client: Client) -> bool:
    return "_auth_user_id" in client.session


def test_password_alone_lets_nobody_in_who_has_a_second_step(client: Client, cast: Cast) -> None:
    enable_totp(cast.member)

    answer = password_of(client, cast)

    assert answer["Location"] == CODE
    assert not require_user(client)
    for path in ("/", "/me/", SETUP, f"/teams/{cast.team.pk}/", "/accounts/sessions/"):
        assert urlsplit(client.get(path)["Location"]).path == LOGIN, path
    assert client.get("/api/v1/me").status_code == 401


def test_code_of_the_app_is_the_second_step(client: Client, cast: Cast) -> None:
    secret = enable_totp(cast.member)
    password_of(client, cast)

    client.post(CODE, {"code": totp_code(secret)})

    assert require_user(client)


def test_second_step_without_the_first_leads_nowhere(client: Client, cast: Cast) -> None:
    secret = enable_totp(cast.member)

    answer = client.post(CODE, {"code": totp_code(secret)})

    assert urlsplit(answer["Location"]).path == LOGIN
    assert not require_user(client)


def test_code_that_was_used_is_used_up(cast: Cast) -> None:
    secret = enable_totp(cast.member)
    first, second = Client(), Client()
    for browser in (first, second):
        password_of(browser, cast)
        browser.post(CODE, {"code": totp_code(secret)})

    assert require_user(first)
    assert not require_user(second)


def test_code_of_the_step_before_is_refused(client: Client, cast: Cast) -> None:
    secret = enable_totp(cast.member)
    password_of(client, cast)

    client.post(CODE, {"code": totp_code(secret, steps=-1)})

    assert not require_user(client)


def test_recovery_code_lets_in_once(cast: Cast) -> None:
    enable_totp(cast.member)
    code = RecoveryCodes.activate(cast.member).get_unused_codes()[0]
    first, second = Client(), Client()
    for browser in (first, second):
        password_of(browser, cast)
        browser.post(CODE, {"code": code})

    assert require_user(first)
    assert not require_user(second)


def test_sixth_guess_at_a_code_is_refused_even_if_right(
    client: Client, cast: Cast, settings: Settings
) -> None:
    settings.ACCOUNT_RATE_LIMITS = {}
    secret = enable_totp(cast.member)
    password_of(client, cast)
    for _ in range(5):
        client.post(CODE, {"code": "000000"})

    client.post(CODE, {"code": totp_code(secret)})

    assert not require_user(client)


def set_up(client: Client) -> tuple[Answer, str]:
    """Set up an app as people do; return the last page and the code that was entered."""
    client.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    form = client.get("/accounts/2fa/totp/activate/")
    code = totp_code(form.context["form"].secret)
    return client.post("/accounts/2fa/totp/activate/", {"code": code}, follow=True), code


def test_setting_up_ends_other_sessions_and_what_is_open_under_them(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, elsewhere = Client(), Client()
    for browser in (here, elsewhere):
        password_of(browser, cast)
    other = elsewhere.session.session_key
    revoked = record_revocations(monkeypatch)

    page, _code = set_up(here)

    assert page.status_code == 200
    assert len(page.context["unused_codes"]) == 10
    assert here.get("/me/").status_code == 200
    assert elsewhere.get("/me/").status_code == 302
    assert revoked == [AccessRevoked(user_id=cast.member.pk, session_key=other)]
    actions = list(AuditEntry.objects.filter(team=None).values_list("action", flat=True))
    assert {"user.mfa_added", "user.sessions_ended"} <= set(actions)


def test_code_that_set_it_up_does_not_sign_in(client: Client, cast: Cast) -> None:
    password_of(client, cast)
    _page, code = set_up(client)
    thief = Client()
    password_of(thief, cast)

    thief.post(CODE, {"code": code})

    assert not require_user(thief)


def test_recovery_codes_are_shown_once(client: Client, cast: Cast) -> None:
    password_of(client, cast)
    page, _code = set_up(client)
    shown = page.context["unused_codes"]

    again = client.get("/accounts/2fa/recovery-codes/")

    assert shown[0] in page.content.decode()
    assert shown[0] not in again.content.decode()
    assert client.get("/accounts/2fa/recovery-codes/download/").status_code in {403, 404}


def test_secret_is_sealed_in_the_database(client: Client, cast: Cast) -> None:
    secret = enable_totp(cast.member)
    RecoveryCodes.activate(cast.member)

    stored = str(list(Authenticator.objects.values_list("data", flat=True)))

    assert secret not in stored
    assert stored.count("gAAAA") == 2  # how sealed texts begin


def test_secret_follows_a_new_secret_key_and_without_it_lets_nobody_in(
    cast: Cast, settings: Settings
) -> None:
    secret = enable_totp(cast.member)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "a new secret key", [settings.SECRET_KEY]
    assert reencrypt_mfa_secrets() == 0
    settings.SECRET_KEY_FALLBACKS = []
    follower, lost = Client(), Client()
    password_of(follower, cast)
    follower.post(CODE, {"code": totp_code(secret)})
    settings.SECRET_KEY = "a wrong secret key"
    password_of(lost, cast)

    answer = lost.post(CODE, {"code": totp_code(secret)})

    assert answer.status_code == 503
    assert not require_user(lost)
    assert reencrypt_mfa_secrets() == 1
    settings.SECRET_KEY = "a new secret key"
    assert require_user(follower)


@pytest.mark.parametrize(
    "path",
    [
        "totp/activate/",
        "totp/deactivate/",
        "recovery-codes/generate/",
        "webauthn/add/",
    ],
)
def test_change_asks_whether_it_is_you(cast: Cast, path: str) -> None:
    """`force_login` is a session that is old: nobody has shown a password in it."""
    client = Client()
    client.force_login(cast.member)
    if path != "totp/activate/":
        enable_totp(cast.member)
    before = Authenticator.objects.count()

    answer = client.post(f"/accounts/2fa/{path}", {"code": "000000"})

    assert urlsplit(answer["Location"]).path == reverse("account_reauthenticate")
    assert Authenticator.objects.count() == before


def test_doing_without_closes_what_teams_that_ask_for_it_have_open(
    client: Client, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    enable_totp(cast.owner)
    password_of(client, cast)
    set_up(client)
    require_mfa(user=cast.owner, team_id=cast.team.pk, required=True)
    revoked = record_revocations(monkeypatch)

    client.post("/accounts/2fa/totp/deactivate/")

    assert AccessRevoked(user_id=cast.member.pk) in revoked


def test_removing_the_app_removes_its_recovery_codes_and_is_written_down(
    client: Client, cast: Cast
) -> None:
    password_of(client, cast)
    set_up(client)

    client.post("/accounts/2fa/totp/deactivate/")

    assert not Authenticator.objects.filter(user=cast.member).exists()
    assert AuditEntry.objects.filter(action="user.mfa_removed").count() == 2


def test_team_that_asks_for_it_shuts_out_who_has_none(cast: Cast) -> None:
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


def test_stranger_does_not_learn_that_a_team_asks_for_it(cast: Cast) -> None:
    enable_totp(cast.owner)
    require_mfa(user=cast.owner, team_id=cast.team.pk, required=True)
    browser = Client()
    browser.force_login(cast.stranger)

    assert browser.get(reverse("accounts:people", args=[cast.team.pk])).status_code == 404


def test_asking_for_it_closes_what_is_open_for_who_has_none(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    enable_totp(cast.owner)
    enable_totp(cast.admin)
    remove_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.suspended.pk)
    revoked = record_revocations(monkeypatch)

    require_mfa(user=cast.owner, team_id=cast.team.pk, required=True)

    assert {event.user_id for event in revoked} == {cast.member.pk, cast.guest.pk}


def test_nobody_asks_others_for_what_they_do_not_do(cast: Cast) -> None:
    with pytest.raises(Conflict):
        require_mfa(user=cast.owner, team_id=cast.team.pk, required=True)


def test_recovery_codes_alone_are_no_second_step(cast: Cast) -> None:
    enable_totp(cast.owner)
    RecoveryCodes.activate(cast.member)
    require_mfa(user=cast.owner, team_id=cast.team.pk, required=True)

    with pytest.raises(MfaRequired):
        access_team(cast.member, cast.team.pk, VIEW)


def test_staff_without_it_are_led_to_it(client: Client, cast: Cast) -> None:
    cast.owner.is_staff = cast.owner.is_superuser = True
    cast.owner.save()
    client.force_login(cast.owner)

    before = client.get("/admin/accounts/user/", follow=True)
    enable_totp(cast.owner)
    after = client.get("/admin/accounts/user/")

    assert before.redirect_chain[-1][0] == SETUP
    assert after.status_code == 200


def test_sessions_are_listed_and_the_others_ended(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, elsewhere = Client(), Client(HTTP_USER_AGENT="<b>Elsewhere</b>")
    for browser in (here, elsewhere):
        password_of(browser, cast)
    revoked = record_revocations(monkeypatch)
    listed = here.get("/accounts/sessions/").content.decode()

    here.post("/accounts/sessions/")

    assert "&lt;b&gt;Elsewhere" in listed
    assert [event.session_key for event in revoked] == [elsewhere.session.session_key]
    assert elsewhere.get("/me/").status_code == 302
    assert here.get("/me/").status_code == 200


@pytest.mark.parametrize("form", [{}, {"required": ""}, {"required": "YES"}, {"required": "off"}])
def test_form_that_is_not_understood_does_not_switch_it_off(
    cast: Cast, form: dict[str, str]
) -> None:
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
