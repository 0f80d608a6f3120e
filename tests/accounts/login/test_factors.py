"""A second factor and its audit entry are stored together or not at all."""

from collections.abc import Iterator
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.db import DatabaseError
from django.test import Client
from django.urls import reverse

from accounts.login.mfa_forms import PasskeyForm
from accounts.models import AuditEntry
from tests.accounts.conftest import PASSWORD, Cast
from tests.accounts.login.test_two_steps import password_of, set_up
from tests.accounts.login.totp import enable_totp, totp_code

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_code_was_used() -> None:
    cache.clear()


def entries() -> list[tuple[str, str]]:
    """Return action and kind of the audit entries about factors, in alphabetical order."""
    found = AuditEntry.objects.filter(action__startswith="user.mfa").order_by("number")
    return sorted((one.action, (one.after or one.before)["kind"]) for one in found)


def passkey(cast: Cast) -> Authenticator:
    data = {"name": "Key", "credential": {}}
    return Authenticator.objects.create(user=cast.member, type="webauthn", data=data)


def test_each_added_or_removed_factor_writes_one_entry(client: Client, cast: Cast) -> None:
    password_of(client, cast)
    set_up(client)
    key = passkey(cast)

    client.post("/accounts/2fa/recovery-codes/generate/")
    client.post(f"/accounts/2fa/webauthn/keys/{key.pk}/remove/")
    client.post("/accounts/2fa/totp/deactivate/")

    assert entries() == [
        ("user.mfa_added", "recovery_codes"),
        ("user.mfa_added", "totp"),
        ("user.mfa_removed", "recovery_codes"),
        ("user.mfa_removed", "totp"),
        ("user.mfa_removed", "webauthn"),
        ("user.mfa_reset", "recovery_codes"),
    ]


@pytest.fixture
def entries_fail(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the database reject audit entries about factors."""
    save = AuditEntry.save

    def refuse(entry: AuditEntry, **kwargs: Any) -> None:
        if entry.action.startswith("user.mfa"):
            raise DatabaseError
        save(entry, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(AuditEntry, "save", refuse)
        yield


FACTOR_CHANGES = {
    "the app": "totp/activate/",
    "no app": "totp/deactivate/",
    "a passkey": "webauthn/add/",
    "no passkey": "webauthn/keys/{key}/remove/",
    "new codes": "recovery-codes/generate/",
}


@pytest.mark.django_db(transaction=True)  # the view must commit or roll back by itself
@pytest.mark.parametrize("change", FACTOR_CHANGES)
def test_factor_is_unchanged_if_its_entry_cannot_be_written(
    client: Client,
    cast: Cast,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    change: str,
) -> None:
    path = "/accounts/2fa/" + FACTOR_CHANGES[change].format(key=passkey(cast).pk)
    client.raise_request_exception = False
    client.force_login(cast.member)
    client.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    code = ""
    if change == "the app":
        code = totp_code(client.get(path).context["form"].secret)
    elif change != "a passkey":
        enable_totp(cast.member)
    # No device exists here: tests/e2e/test_passkeys.py covers its response.
    monkeypatch.setattr(PasskeyForm, "clean", lambda form: form.cleaned_data)
    before = list(Authenticator.objects.order_by("pk").values_list("pk", "data"))
    request.getfixturevalue("entries_fail")

    answer = client.post(path, {"code": code, "name": "Second", "credential": '{"id": "x"}'})

    assert answer.status_code == 500
    assert list(Authenticator.objects.order_by("pk").values_list("pk", "data")) == before
