"""API tokens: storage, authentication, scope and revocation."""

import re
from collections import Counter
from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.crypto.hashing import generate_secret
from accounts.errors import Forbidden, Invalid, MaruError, NotFound
from accounts.hooks import AccessRevoked
from accounts.models import ApiToken, User
from accounts.permissions import CREATE_ROOM, MANAGE_PEOPLE, VIEW, access_team
from accounts.services import (
    create_team,
    create_token,
    invite,
    remove_team_member,
    revoke_token,
    suspend_user,
    user_for_token,
)
from tests.accounts.conftest import Cast
from tests.accounts.revocations import record_revocations

pytestmark = pytest.mark.django_db


def bearer(user: User, **fields: object) -> User:
    """Return the user as authenticated by a new token."""
    _token, secret = create_token(user=user, name="script", **fields)  # type: ignore[arg-type]  # by name
    found = user_for_token(secret)
    assert found is not None
    return found


def test_token_authenticates_its_user(cast: Cast) -> None:
    token, secret = create_token(user=cast.member, name="script")

    found = user_for_token(secret)

    assert found is not None
    assert (found, found.scope.token_id) == (cast.member, token.pk)


def test_secret_has_the_prefix_and_256_bits(cast: Cast) -> None:
    secrets = [create_token(user=cast.member, name="script")[1] for _ in range(5)]

    assert all(re.fullmatch(r"maru_[\w-]{43}", secret) for secret in secrets)
    assert len(set(secrets)) == 5


def test_characters_of_secrets_are_evenly_distributed() -> None:
    """64 characters, 20,000 samples: a biased source would differ clearly."""
    letters = Counter("".join(generate_secret()[:40] for _ in range(500)))

    assert len(letters) == 64
    assert max(letters.values()) < 2 * min(letters.values())


def test_secret_is_not_stored(cast: Cast) -> None:
    token, secret = create_token(user=cast.member, name="script")

    row = ApiToken.objects.filter(pk=token.pk).values().get()

    assert secret not in str(row)
    assert secret.removeprefix("maru_") not in str(row)
    assert len(token.digest) == 64
    assert token.hint == secret[-4:]


@pytest.mark.parametrize("wrong", ["", "maru_", "maru_" + "a" * 43, "x" * 10_000, "\0", "\ud800"])
def test_invalid_token_costs_the_same_query(
    cast: Cast, wrong: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(1):
        assert user_for_token(wrong) is None


def test_token_expires(cast: Cast) -> None:
    until = timezone.now() + timedelta(days=1)
    _token, secret = create_token(user=cast.member, name="script", expires_at=until)

    with time_machine.travel(until - timedelta(seconds=1)):
        assert user_for_token(secret) is not None
    with time_machine.travel(until + timedelta(seconds=1)):
        assert user_for_token(secret) is None


def test_token_of_a_suspended_user_is_invalid(cast: Cast) -> None:
    _token, secret = create_token(user=cast.member, name="script")

    suspend_user(person=cast.member)

    assert user_for_token(secret) is None


def test_revoked_token_is_invalid_and_listeners_are_notified(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoked = record_revocations(monkeypatch)
    token, secret = create_token(user=cast.member, name="script")

    revoke_token(user=cast.member, token_id=token.pk)

    assert user_for_token(secret) is None
    assert revoked == [AccessRevoked(user_id=cast.member.pk, token_id=token.pk)]


def test_token_of_another_user_cannot_be_revoked(cast: Cast) -> None:
    token, secret = create_token(user=cast.member, name="script")

    with pytest.raises(NotFound):
        revoke_token(user=cast.owner, token_id=token.pk)

    assert user_for_token(secret) is not None


@pytest.mark.parametrize(
    ("scopes", "may"),
    [
        (["read"], {VIEW}),
        (["write"], {VIEW, CREATE_ROOM}),
        (["admin"], {VIEW, CREATE_ROOM, MANAGE_PEOPLE}),
    ],
)
def test_scope_limits_the_permissions_of_a_token(
    cast: Cast, scopes: list[str], may: set[str]
) -> None:
    user = bearer(cast.owner, scopes=scopes)

    for permission in (VIEW, CREATE_ROOM, MANAGE_PEOPLE):
        if permission in may:
            assert access_team(user, cast.team.pk, permission)
        else:
            with pytest.raises(Forbidden):
                access_team(user, cast.team.pk, permission)


def test_scope_grants_no_permission_that_the_user_lacks(cast: Cast) -> None:
    with pytest.raises(Forbidden):
        access_team(bearer(cast.member, scopes=["admin"]), cast.team.pk, MANAGE_PEOPLE)


def test_team_bound_token_sees_no_other_team(cast: Cast) -> None:
    second = create_team(user=cast.owner, name="Second")
    user = bearer(cast.owner, scopes=["admin"], team=cast.team)

    assert access_team(user, cast.team.pk, VIEW)
    with pytest.raises(NotFound):
        access_team(user, second.pk, VIEW)


def test_services_enforce_the_scope_of_the_token(cast: Cast) -> None:
    user = bearer(cast.owner, scopes=["write"])

    with pytest.raises(Forbidden):
        invite(user=user, team_id=cast.team.pk)
    with pytest.raises(Forbidden):
        remove_team_member(user=user, team_id=cast.team.pk, member_id=cast.guest.pk)


@pytest.mark.parametrize(
    ("own", "requested"),
    [
        ({"scopes": ["write"]}, {"scopes": ["read"]}),
        ({"scopes": ["admin"], "expires": 1}, {"scopes": ["admin"]}),
        ({"scopes": ["admin"], "expires": 1}, {"scopes": ["admin"], "expires": 2}),
        ({"scopes": ["admin"], "bound": True}, {"scopes": ["admin"]}),
    ],
)
def test_token_cannot_create_a_token_with_a_larger_scope(
    cast: Cast, own: dict[str, object], requested: dict[str, object]
) -> None:
    def token_fields(template: dict[str, object]) -> dict[str, object]:
        days = template.get("expires")
        return {
            "scopes": template["scopes"],
            "team": cast.team if template.get("bound") else None,
            "expires_at": timezone.now() + timedelta(days=days) if isinstance(days, int) else None,
        }

    user = bearer(cast.owner, **token_fields(own))

    with pytest.raises(Forbidden):
        create_token(user=user, name="further", **token_fields(requested))  # type: ignore[arg-type]  # by name


def test_token_creates_a_token_with_a_smaller_scope(cast: Cast) -> None:
    user = bearer(cast.owner, scopes=["admin"])

    token, _secret = create_token(user=user, name="less", scopes=["read"], team=cast.team)

    assert token.scopes == ["read"]


def test_team_bound_token_revokes_only_tokens_of_its_team(cast: Cast) -> None:
    other, secret = create_token(user=cast.owner, name="unbound")

    with pytest.raises(NotFound):
        revoke_token(user=bearer(cast.owner, scopes=["admin"], team=cast.team), token_id=other.pk)

    assert user_for_token(secret) is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "\u200b"},
        {"scopes": []},
        {"scopes": ["everything"]},
        {"expires_at": timezone.now() - timedelta(seconds=1)},
    ],
)
def test_invalid_token_fields_are_rejected(cast: Cast, fields: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        create_token(user=cast.member, **{"name": "script", **fields})  # type: ignore[arg-type]  # by name


def test_token_cannot_be_bound_to_a_foreign_team(cast: Cast) -> None:
    with pytest.raises(MaruError):
        create_token(user=cast.member, name="script", team=cast.other_team)
