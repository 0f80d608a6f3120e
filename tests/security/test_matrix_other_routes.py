"""The permission matrix of the admin site, of allauth's pages and of ids in query strings.

As in `test_matrix`, routes are enumerated from the code, and an unlisted route fails.
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
from tests.security.principals import Tenant, make_principals, make_user
from tests.security.requests import browser, check_same_response, send, send_form, walk

pytestmark = pytest.mark.django_db

PASSWORD = "ondol-warms-the-floor"

# Pages of the admin site for each model.
PAGES_OF_MODELS = {"changelist", "add", "history", "delete", "change"}
PAGES_OF_THE_SITE = {
    *("index", "login", "logout", "password_change", "password_change_done", "autocomplete"),
    *("jsi18n", "view_on_site", "app_list", ""),
}
PAGES_WITHOUT_OBJECTS = {"/admin/", "/admin/jsi18n/", "/admin/password_change/done/"}
"""Pages that open for staff without permissions and show them missing."""

# Page of allauth → the parameters of its path.
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
    "",  # unnamed redirects from old URLs
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
# Query parameters that pages and endpoints read.
ID_PARAMETERS = {"team", "actor", "room", "around", "thread"}
OTHER_PARAMETERS = {
    *("before", "after", "limit", "cursor", "joinable"),  # a position in a list
    *("at", "on"),  # a position in the messages of a room
    "request",  # a position in the requests of a run
    *("page", "open", "archived", "invited", "personas"),  # the page of a list
    "q",  # the words that a list is searched for
    *("action", "since", "until"),  # a filter of visible objects
    *("panel", "show", "next"),  # the layout of a page, and the next page
    *("code", "state", "iss"),  # the answer of an authorization server
    "starter",  # a sentence of the product, by its number
}


def routes(beginning: str) -> Iterator[tuple[str, str]]:
    """Yield name and path of the routes below a prefix, with their parameters in braces."""
    for route, name in walk(get_resolver().url_patterns, "", ""):
        if route.startswith(beginning):
            plain = re.sub(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)", r"{\1}", route)
            plain = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", plain)
            yield name, "/" + plain.replace("^", "").replace("$", "")


def admin_pages() -> Iterator[tuple[str, type[Any] | None]]:
    """Yield each path of the admin site and its model."""
    found = list(routes("admin/"))  # resolving a URL registers all models
    models = {f"{m._meta.app_label}_{m._meta.model_name}": m for m in site._registry}
    for _name, path in found:
        about = path.split("/")[2:4]
        yield path, models.get("_".join(about))


def test_each_page_of_the_admin_site_is_listed() -> None:
    names = {name.removeprefix("admin:") for name, _path in routes("admin/")}
    models = {f"{m._meta.app_label}_{m._meta.model_name}" for m in site._registry}

    assert set(site._registry) == {User, Team, AuditEntry, TeamQuota, Worker}
    assert names == PAGES_OF_THE_SITE | {
        f"{model}_{page}" for model in models for page in PAGES_OF_MODELS
    }
    for _name, path in routes("admin/"):
        known = {"object_id", "content_type_id", "app_label", "url"}
        assert set(re.findall(r"{(\w+)}", path)) <= known, path


def test_each_page_of_allauth_is_listed() -> None:
    found: dict[str, set[str]] = {}
    for name, path in routes("accounts/"):
        found.setdefault(name, set()).update(re.findall(r"{(\w+)}", path))

    assert found == ALLAUTH


def test_each_query_parameter_is_listed() -> None:
    found = set(AuditForm.base_fields)
    for app in ("accounts", "agents", "rooms", "maru"):
        for file in ROOT.joinpath(apps.get_app_config(app).path).rglob("*.py"):
            text = file.read_text()
            found |= set(re.findall(r"GET(?:\.get)?[(\[]\"(\w+)\"", text))
            found |= set(re.findall(r"\"(\w+)\" in request\.GET", text))
            others = re.sub(
                r"GET\.get\((\"\w+\"|REDIRECT_FIELD_NAME)|in request\.GET|GET\.copy\(\)"
                r"|AuditForm\(request\.GET|\"GET\"|request\.GET,"
                r"|request\.GET\.lists\(\)",  # of REST, which refuses what its schema lacks
                "",
                text,
            )
            assert "request.GET" not in others, file
    for methods in api.get_openapi_schema()["paths"].values():
        for operation in methods.values():
            asked_for = operation.get("parameters", [])
            found |= {each["name"] for each in asked_for if each["in"] == "query"}

    assert found | {"next"} == ID_PARAMETERS | OTHER_PARAMETERS


def visitors(victim: Tenant, own: Tenant) -> list[tuple[str, User | None]]:
    """Return some principals, staff with and without a second factor, and an anonymous visitor."""
    powerless = make_user("powerless")
    powerless.is_staff = True
    powerless.save(update_fields=["is_staff"])
    enable_totp(powerless)
    names = {"stranger", "admin-here", "former", "staff"}
    named = [(p.name, p.user) for p in make_principals(victim, own) if p.name in names]
    return [*named, ("powerless", powerless), ("anonymous", None)]


def test_admin_site_reveals_no_object(victim: Tenant, own: Tenant) -> None:
    line, _made = TeamQuota.objects.get_or_create(team=victim.team)
    worker = Worker.objects.create(name="CANARY-worker", concurrency=1)
    existing = {
        User: str(victim.member.pk),
        Team: str(victim.team.pk),
        AuditEntry: str(AuditEntry.objects.latest("created_at").pk),
        TeamQuota: str(line.pk),
        Worker: str(worker.pk),
        None: str(victim.member.pk),
    }
    kind = str(ContentType.objects.get_for_model(User).pk)
    tried = 0
    for name, user in visitors(victim, own):
        for path, model in admin_pages():
            for method in ("GET", "POST"):
                ids, missing = (
                    {"object_id": one, "content_type_id": kind, "app_label": "accounts", "url": "x"}
                    for one in (existing[model], str(uuid4()))
                )
                real, unknown = (
                    # A client for each request: a message would be shown on the next page.
                    send_form(browser(user), method, path.format(**given), {"is_superuser": "on"})
                    for given in (ids, missing)
                )
                status = check_same_response(real, unknown, ids, missing, (name, method, path))
                shown = name == "powerless" and path in PAGES_WITHOUT_OBJECTS
                assert shown or status in {302, 403, 404, 405}, (name, method, path, status)
                assert "CANARY" not in real[0].content.decode()
                tried += 1

    assert tried > 6 * 2 * 30


def reauthenticated_client(side: Tenant) -> Client:
    """Return a client whose user has just entered the password."""
    change_password(user=side.owner, password=PASSWORD)
    client = Client()
    client.post("/accounts/login/", {"login": side.owner.email, "password": PASSWORD})
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    return client


def test_passkey_of_another_user_is_not_found(victim: Tenant, own: Tenant) -> None:
    """The id of a passkey is a number that can be guessed."""
    key = Authenticator.objects.create(
        user=victim.owner, type=Authenticator.Type.WEBAUTHN, data={"name": "CANARY"}
    )
    client = reauthenticated_client(own)
    for name, path in routes("accounts/"):
        if ALLAUTH[name] != {"pk"}:
            continue
        for method in ("GET", "POST"):
            ids, missing = {"pk": str(key.pk)}, {"pk": str(key.pk + 1_000)}
            real, unknown = (
                send_form(client, method, path.format(**each), {"name": "mine"})
                for each in (ids, missing)
            )
            assert check_same_response(real, unknown, ids, missing, (method, name)) == 404
    key.refresh_from_db()
    assert key.data == {"name": "CANARY"}


def test_wrong_key_of_a_mail_link_does_not_reveal_the_user(victim: Tenant, own: Tenant) -> None:
    known, unknown_user = user_pk_to_url_str(victim.owner), user_pk_to_url_str(User(pk=uuid4()))
    for client in (Client(), reauthenticated_client(own)):
        for name, path in routes("accounts/"):
            if "key" not in ALLAUTH[name]:
                continue
            for method in ("GET", "POST"):
                real, unknown = (
                    send_form(
                        client, method, path.format(uidb36=uid, key="a-b"), {"password1": "x"}
                    )
                    for uid in (known, unknown_user)
                )
                ids, missing = {"uid": known}, {"uid": unknown_user}
                check_same_response(real, unknown, ids, missing, (method, name))


def test_unconfigured_oidc_provider_is_not_found() -> None:
    for name, path in routes("accounts/oidc/"):
        answer, writes = send(Client(), "GET", path.format(provider_id="CANARY"))
        assert (answer.status_code, writes) == (404, []), name


def test_foreign_team_in_a_query_string_is_not_found(victim: Tenant, own: Tenant) -> None:
    for principal in make_principals(victim, own):
        if principal.insider:
            continue
        client = browser(principal.user)
        ids, missing = {"team": str(victim.team.pk)}, {"team": str(uuid4())}
        real, unknown = (send(client, "GET", f"/?team={each['team']}") for each in (ids, missing))
        status = check_same_response(real, unknown, ids, missing, principal.name)
        if principal.can_sign_in:
            assert status == 404, principal.name
        else:
            assert urlsplit(real[0]["Location"]).path == "/accounts/login/"


def test_foreign_message_in_a_query_string_is_not_found(victim: Tenant, own: Tenant) -> None:
    token = next(p.token for p in make_principals(victim, own) if p.name == "stranger")
    program = Client(headers={"Authorization": f"Bearer {token}"})
    for client, path in (
        (browser(own.owner), f"/rooms/{own.room.pk}/"),
        (program, f"/api/v1/rooms/{own.room.pk}/messages"),
    ):
        ids, missing = {"message": victim.ids["message"]}, {"message": str(uuid4())}
        real, unknown = (
            send(client, "GET", f"{path}?around={each['message']}") for each in (ids, missing)
        )
        assert check_same_response(real, unknown, ids, missing, path) == 404


def test_foreign_actor_in_a_query_string_is_not_found(victim: Tenant, own: Tenant) -> None:
    """The audit log of a team reveals nothing about users outside of it."""
    token = make_principals(victim, own)[0].token
    program = Client(headers={"Authorization": f"Bearer {token}"})
    for client, path in (
        (browser(own.owner), f"/teams/{own.team.pk}/audit/"),
        (program, f"/api/v1/teams/{own.team.pk}/audit"),
    ):
        ids, missing = {"actor": str(victim.owner.pk)}, {"actor": str(uuid4())}
        real, unknown = (
            send(client, "GET", f"{path}?actor={each['actor']}") for each in (ids, missing)
        )
        assert check_same_response(real, unknown, ids, missing, path) == 200
        assert "VictimOwner" not in real[0].content.decode()
