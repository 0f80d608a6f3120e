"""User accounts: names, handles, emails, profiles, passwords and suspension."""

import pytest
from pytest_django import Settings

from accounts import rate_limits
from accounts.errors import Conflict, Invalid, RateLimited
from accounts.hooks import AccessRevoked, HookRegistry, account_hooks
from accounts.models import AuditEntry, User
from accounts.services import (
    change_password,
    create_token,
    create_user,
    suspend_user,
    update_profile,
    user_for_token,
)
from tests.accounts.concurrency import run_concurrently
from tests.accounts.conftest import PASSWORD, Cast, make_user
from tests.accounts.revocations import record_revocations

pytestmark = pytest.mark.django_db


@pytest.fixture
def revoked(monkeypatch: pytest.MonkeyPatch) -> list[AccessRevoked]:
    """The access that the test has revoked."""
    return record_revocations(monkeypatch)


@pytest.mark.parametrize(
    ("name", "handle"),
    [
        ("Seojun Lee", "seojun-lee"),
        ("이서준", "이서준"),
        ("  Élodie! ", "élodie"),
        ("···", "person"),
    ],
)
def test_handle_is_derived_from_the_name(name: str, handle: str) -> None:
    user = create_user(name=name, email="secret.address@example.com")

    assert user.handle == handle


def test_handle_does_not_reveal_the_email() -> None:
    user = create_user(name="Kim", email="secret.address@example.com")
    again = create_user(name="Kim", email="another.address@example.com")

    assert user.handle == "kim"
    assert again.handle.startswith("kim-")
    assert "address" not in user.handle + again.handle


@pytest.mark.django_db(transaction=True)
def test_concurrent_users_with_one_name_get_different_handles() -> None:
    created = run_concurrently(
        lambda number: create_user(name="Kim", email=f"kim{number}@example.com"),
        range(8),
        Conflict,
    )

    assert len({user.handle for user in created}) == 8


def test_invisible_name_is_rejected() -> None:
    with pytest.raises(Invalid) as refused:
        create_user(name="\u200b\u3164", email="a@example.com")

    assert refused.value.fields
    assert "name" in refused.value.fields


def test_email_in_another_case_is_a_conflict() -> None:
    create_user(name="Kim", email="kim@example.com")

    with pytest.raises(Conflict):
        create_user(name="Kim", email=" KIM@Example.com ")

    assert User.objects.count() == 1


@pytest.mark.parametrize("address", ["", "kim", "kim@", "@example.com", "a b@example.com"])
def test_incomplete_email_is_rejected(address: str) -> None:
    with pytest.raises(Invalid):
        create_user(name="Kim", email=address)


@pytest.mark.django_db(transaction=True)
def test_concurrent_requests_create_one_account_for_an_email() -> None:
    created = run_concurrently(
        lambda number: create_user(name=f"Kim {number}", email="kim@example.com"),
        range(8),
        Conflict,
    )

    assert len(created) == 1
    assert User.objects.count() == 1


def test_new_account_has_no_permissions() -> None:
    user = make_user("Kim")

    assert not user.is_staff
    assert not user.is_superuser
    assert not user.memberships.exists()


def test_profile_changes_the_name_and_keeps_the_handle() -> None:
    user = make_user("Kim")

    update_profile(user=user, name="Kim Hayun", wood="zelkova")

    user.refresh_from_db()
    assert (user.name, user.wood, user.handle) == ("Kim Hayun", "zelkova", "kim")


def test_profile_that_stays_the_same_calls_no_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    user = make_user("Kim")
    before = AuditEntry.objects.count()
    monkeypatch.setattr(account_hooks, "_implementations", [None])  # a call would raise

    update_profile(user=user)
    update_profile(user=user, name=" Kim ", wood=user.wood)

    assert AuditEntry.objects.count() == before


def test_profile_changes_are_rate_limited(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RATE_LIMITS = True
    counters = rate_limits.MemoryCounters(lambda: 0.0)
    monkeypatch.setattr(rate_limits, "get_counters", lambda: counters)
    user = make_user("Kim")
    most = rate_limits.LIMITS[rate_limits.PROFILE, rate_limits.USER].max_count

    for number in range(most):
        update_profile(user=user, name=f"Kim {number}")
        update_profile(user=user)
    with pytest.raises(RateLimited):
        update_profile(user=user, name="Kim again")

    user.refresh_from_db()
    assert user.name == f"Kim {most - 1}"


def test_unknown_wood_is_rejected() -> None:
    with pytest.raises(Invalid):
        update_profile(user=make_user("Kim"), wood="gold")


def test_new_password_deletes_tokens_and_notifies_listeners(revoked: list[AccessRevoked]) -> None:
    user = make_user("Kim")
    _token, secret = create_token(user=user, name="script")

    change_password(user=user, password="another-good-password")

    assert user.check_password("another-good-password")
    assert user_for_token(secret) is None
    assert revoked == [AccessRevoked(user_id=user.pk)]


def test_suspension_invalidates_tokens_and_notifies_listeners(
    cast: Cast, revoked: list[AccessRevoked]
) -> None:
    _token, secret = create_token(user=cast.member, name="script")

    suspend_user(person=cast.member)

    assert user_for_token(secret) is None
    assert revoked == [AccessRevoked(user_id=cast.member.pk)]


def test_hooks_that_are_registered_twice_are_called_once() -> None:
    class Upper: ...

    class Lower: ...

    registry: HookRegistry[object] = HookRegistry()
    upper, lower = Upper(), Lower()

    for hooks in (upper, lower, Upper()):  # Django may call `ready` again, which makes new objects
        registry.register(hooks)

    assert list(registry) == [lower, upper]


def test_password_is_stored_as_a_hash() -> None:
    assert PASSWORD not in make_user("Kim").password
