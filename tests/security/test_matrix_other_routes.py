"""The rest of the matrix: the admin site, what allauth serves, and ids that a query string names.

As in `test_matrix`, each of them is enumerated from the code, and one that is not listed fails.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.models import Authenticator
from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import get_resolver

from accounts.admin import site
from accounts.models import AuditEntry, Team, User
from accounts.services import change_password
from accounts.views.forms import AuditForm
from maru.web.api import api
from rooms.models import TeamQuota, Worker
from tests.accounts.login.totp import enable_totp
from tests.live import ROOT
from tests.security.principals import Tenant, make_principals, make_tenant, make_user
from tests.security.test_matrix import _walk, asked, browser, check_refusals, page_of

pytestmark = pytest.mark.django_db

PASSWORD = "ondol-warms-the-floor"

# The pages of the admin site, by what they are called after the model.
OF_MODELS = {"changelist", "add", "history", "delete", "change"}
OF_THE_SITE = {
    *("index", "login", "logout", "password_change", "password_change_done", "autocomplete"),
    *("jsi18n", "view_on_site", "app_list", ""),
}
OF_NOTHING = {"/admin/", "/admin/jsi18n/", "/admin/password_change/done/"}
"""Pages that show staff as much as their permissions let them see: here, nothing."""

# What allauth serves → the kinds of things that its paths name.
WITHOUT_IDS = {
    *("account_login", "account_logout", "account_inactive", "account_signup"),
    *("account_reauthenticate", "account_email", "account_email_verification_sent"),
    *("account_change_password", "account_set_password", "account_reset_password"),
    *("account_confirm_login_code", "account_reset_password_from_key_done"),
    *("account_reset_password_done", "mfa_index", "mfa_authenticate"),
    *("mfa_reauthenticate", "mfa_activate_totp", "mfa_deactivate_totp"),
    *("mfa_view_recovery_codes", "mfa_generate_recovery_codes"),
    *("mfa_download_recovery_codes", "mfa_list_webauthn", "mfa_add_webauthn"),
    *("mfa_reauthenticate_webauthn", "mfa_login_webauthn"),
    *("socialaccount_login_cancelled", "socialaccount_login_error"),
    *("socialaccount_signup", "socialaccount_connections", "usersessions_list"),
    "",  # old addresses of some of these, which lead to the new ones
}
ALLAUTH: dict[str, set[str]] = {
    **{name: set() for name in WITHOUT_IDS},
    "account_confirm_email": {"key"},
    "account_reset_password_from_key": {"uidb36", "key"},
    "mfa_remove_webauthn": {"pk"},
    "mfa_edit_webauthn": {"pk"},
    "openid_connect_login": {"provider_id"},
    "openid_connect_callback": {"provider_id"},
}
# The words that our pages and endpoints look for in a query string.
NAMES_SOMETHING = {"team", "actor"}
NAMES_NOTHING = {
    *("before", "after", "limit", "cursor", "joinable"),  # a place in a list
    *("action", "since", "until"),  # a filter of what one sees anyway
    *("panel", "show", "next"),  # how a page looks, and where to go after it
}


@pytest.fixture
def victim(db: None) -> Tenant:
    return make_tenant("Victim")


@pytest.fixture
def own(db: None) -> Tenant:
    return make_tenant("Own")


def routes(beginning: str) -> Iterator[tuple[str, str]]:
    """The routes below a path: their names, and their parameters in braces."""
    for route, name in _walk(get_resolver().url_patterns, "", ""):
        if route.startswith(beginning):
            plain = re.sub(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)", r"{\1}", route)
            plain = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", plain)
            yield name, "/" + plain.replace("^", "").replace("$", "")


def admin_pages() -> Iterator[tuple[str, type[Any] | None]]:
    """Each path of the admin site, and the model that it is about."""
    found = list(routes("admin/"))  # whoever asks for an address has all models registered
    models = {f"{m._meta.app_label}_{m._meta.model_name}": m for m in site._registry}
    for _name, path in found:
        about = path.split("/")[2:4]
        yield path, models.get("_".join(about))


def test_every_page_of_the_admin_site_is_listed() -> None:
    names = {name.removeprefix("admin:") for name, _path in routes("admin/")}
    models = {f"{m._meta.app_label}_{m._meta.model_name}" for m in site._registry}

    assert set(site._registry) == {User, Team, AuditEntry, TeamQuota, Worker}
    assert names == OF_THE_SITE | {f"{model}_{page}" for model in models for page in OF_MODELS}
    for _name, path in routes("admin/"):
        known = {"object_id", "content_type_id", "app_label", "url"}
        assert set(re.findall(r"{(\w+)}", path)) <= known, path


def test_every_page_of_allauth_is_listed() -> None:
    found: dict[str, set[str]] = {}
    for name, path in routes("accounts/"):
        found.setdefault(name, set()).update(re.findall(r"{(\w+)}", path))

    assert found == ALLAUTH


def test_every_word_of_a_query_string_is_listed() -> None:
    found = set(AuditForm.base_fields)
    for app in ("accounts", "agents", "rooms", "maru"):
        for file in ROOT.joinpath(apps.get_app_config(app).path).rglob("*.py"):
            text = file.read_text()
            found |= set(re.findall(r"GET(?:\.get)?[(\[]\"(\w+)\"", text))
            found |= set(re.findall(r"\"(\w+)\" in request\.GET", text))
            others = re.sub(
                r"GET\.get\((\"\w+\"|REDIRECT_FIELD_NAME)|in request\.GET|GET\.copy\(\)"
                r"|AuditForm\(request\.GET|\"GET\"|request\.GET,",
                "",
                text,
            )
            assert "request.GET" not in others, file
    for methods in api.get_openapi_schema()["paths"].values():
        for operation in methods.values():
            asked_for = operation.get("parameters", [])
            found |= {each["name"] for each in asked_for if each["in"] == "query"}

    assert found | {"next"} == NAMES_SOMETHING | NAMES_NOTHING


def visitors(victim: Tenant, own: Tenant) -> list[tuple[str, User | None]]:
    """Some of the principals; staff without a second step, and with one, but without any right."""
    powerless = make_user("powerless")
    powerless.is_staff = True
    powerless.save(update_fields=["is_staff"])
    enable_totp(powerless)
    names = {"stranger", "admin-here", "former", "staff"}
    named = [(p.name, p.user) for p in make_principals(victim, own) if p.name in names]
    return [*named, ("powerless", powerless), ("nobody", None)]


def test_admin_site_tells_nobody_of_anything(victim: Tenant, own: Tenant) -> None:
    line, _made = TeamQuota.objects.get_or_create(team=victim.team)
    worker = Worker.objects.create(name="CANARY-worker", concurrency=1)
    there = {
        User: str(victim.member.pk),
        Team: str(victim.team.pk),
        AuditEntry: str(AuditEntry.objects.latest("created_at").pk),
        TeamQuota: str(line.pk),
        Worker: str(worker.pk),
        None: str(victim.member.pk),
    }
    kind = str(ContentType.objects.get_for_model(User).pk)
    tried = 0
    for who, user in visitors(victim, own):
        for path, model in admin_pages():
            for method in ("GET", "POST"):
                ids, nothing = (
                    {"object_id": one, "content_type_id": kind, "app_label": "accounts", "url": "x"}
                    for one in (there[model], str(uuid4()))
                )
                real, unknown = (
                    # A browser for each: what one page has to say, the next one shows.
                    page_of(browser(user), method, path.format(**given), {"is_superuser": "on"})
                    for given in (ids, nothing)
                )
                status = check_refusals(real, unknown, ids, nothing, (who, method, path))
                shown = who == "powerless" and path in OF_NOTHING
                assert shown or status in {302, 403, 404, 405}, (who, method, path, status)
                assert "CANARY" not in real[0].content.decode()
                tried += 1

    assert tried > 6 * 2 * 30


def passed(side: Tenant) -> Client:
    """A browser in which somebody has just shown a password."""
    change_password(user=side.owner, password=PASSWORD)
    client = Client()
    client.post("/accounts/login/", {"login": side.owner.email, "password": PASSWORD})
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    return client


def test_passkey_of_somebody_else_is_not_there(victim: Tenant, own: Tenant) -> None:
    """AUT-05: a passkey is named by a number."""
    key = Authenticator.objects.create(
        user=victim.owner, type=Authenticator.Type.WEBAUTHN, data={"name": "CANARY"}
    )
    client = passed(own)
    for name, path in routes("accounts/"):
        if ALLAUTH[name] != {"pk"}:
            continue
        for method in ("GET", "POST"):
            ids, nothing = {"pk": str(key.pk)}, {"pk": str(key.pk + 1_000)}
            real, unknown = (
                page_of(client, method, path.format(**each), {"name": "mine"})
                for each in (ids, nothing)
            )
            assert check_refusals(real, unknown, ids, nothing, (method, name)) == 404
    key.refresh_from_db()
    assert key.data == {"name": "CANARY"}


def test_secret_of_a_mail_says_nothing_of_whose_it_is(victim: Tenant, own: Tenant) -> None:
    known, unknown_user = user_pk_to_url_str(victim.owner), user_pk_to_url_str(User(pk=uuid4()))
    for client in (Client(), passed(own)):
        for name, path in routes("accounts/"):
            if "key" not in ALLAUTH[name]:
                continue
            for method in ("GET", "POST"):
                real, unknown = (
                    page_of(client, method, path.format(uidb36=uid, key="a-b"), {"password1": "x"})
                    for uid in (known, unknown_user)
                )
                ids, nothing = {"uid": known}, {"uid": unknown_user}
                check_refusals(real, unknown, ids, nothing, (method, name))


def test_provider_that_nobody_has_set_up_is_not_there() -> None:
    for name, path in routes("accounts/oidc/"):
        answer, writes = asked(Client(), "GET", path.format(provider_id="CANARY"))
        assert (answer.status_code, writes) == (404, []), name


def test_team_that_a_query_string_names_is_not_there(victim: Tenant, own: Tenant) -> None:
    for principal in make_principals(victim, own):
        if principal.insider:
            continue
        client = browser(principal.user)
        ids, nothing = {"team": str(victim.team.pk)}, {"team": str(uuid4())}
        real, unknown = (asked(client, "GET", f"/?team={each['team']}") for each in (ids, nothing))
        status = check_refusals(real, unknown, ids, nothing, principal.name)
        if principal.comes_in:
            assert status == 404, principal.name
        else:
            assert urlsplit(real[0]["Location"]).path == "/accounts/login/"


def test_actor_that_a_query_string_names_is_nobody(victim: Tenant, own: Tenant) -> None:
    """Of somebody who is not in one's team the audit knows what it knows of nobody."""
    token = make_principals(victim, own)[0].token
    program = Client(headers={"Authorization": f"Bearer {token}"})
    for client, path in (
        (browser(own.owner), f"/teams/{own.team.pk}/audit/"),
        (program, f"/api/v1/teams/{own.team.pk}/audit"),
    ):
        ids, nothing = {"actor": str(victim.owner.pk)}, {"actor": str(uuid4())}
        real, unknown = (
            asked(client, "GET", f"{path}?actor={each['actor']}") for each in (ids, nothing)
        )
        assert check_refusals(real, unknown, ids, nothing, path) == 200
        assert "VictimOwner" not in real[0].content.decode()
