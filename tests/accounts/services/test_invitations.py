"""Invitations: their uses, expiry, recipient, and the permissions of the inviter."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from allauth.account.models import EmailAddress
from django.core.mail import EmailMessage
from django.utils import timezone
from pytest_django import Settings

from accounts.errors import Conflict, Forbidden, Invalid, MaruError, NotFound
from accounts.models import Invitation, TeamMember, TeamRole, User
from accounts.permissions import VIEW, access_team
from accounts.services import (
    accept_invitation,
    get_invitation,
    invite,
    open_invitations,
    remove_team_member,
    revoke_invitation,
    set_team_role,
    suspend_team_member,
    suspend_user,
)
from accounts.services.teams import add_team_member
from tests.accounts.concurrency import run_concurrently
from tests.accounts.conftest import Cast, make_user

pytestmark = pytest.mark.django_db


def test_invitation_adds_the_user_with_its_role(cast: Cast) -> None:
    invitation, token = invite(user=cast.admin, team_id=cast.team.pk, role="guest")

    member = accept_invitation(user=cast.nobody, token=token)

    assert (member.team, member.role) == (cast.team, TeamRole.GUEST)
    assert access_team(cast.nobody, cast.team.pk, VIEW)
    invitation.refresh_from_db()
    assert invitation.uses == 1


def test_token_is_not_stored(cast: Cast) -> None:
    invitation, token = invite(user=cast.admin, team_id=cast.team.pk)

    assert token not in str(Invitation.objects.filter(pk=invitation.pk).values().get())


def test_used_invitation_is_not_found(cast: Cast) -> None:
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk)
    accept_invitation(user=cast.nobody, token=token)

    with pytest.raises(NotFound):
        accept_invitation(user=cast.stranger, token=token)


@pytest.mark.django_db(transaction=True)
def test_fifty_concurrent_users_of_one_use_add_one_member(cast: Cast) -> None:
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk)
    users = [make_user(f"Person{number}") for number in range(50)]

    joined = run_concurrently(
        lambda user: accept_invitation(user=user, token=token), users, MaruError
    )

    assert len(joined) == 1
    assert TeamMember.objects.filter(user__in=users).count() == 1


@pytest.mark.django_db(transaction=True)
def test_concurrent_requests_of_one_user_add_one_member(cast: Cast) -> None:
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk)

    joined = run_concurrently(
        lambda _number: accept_invitation(user=cast.nobody, token=token), range(8), MaruError
    )

    assert len(joined) == 1


def test_invitation_expires_after_seven_days(cast: Cast) -> None:
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk)
    now = timezone.now()

    with time_machine.travel(now + timedelta(days=7, seconds=-5)):
        assert get_invitation(token).team == cast.team
    with time_machine.travel(now + timedelta(days=7, seconds=5)), pytest.raises(NotFound):
        accept_invitation(user=cast.nobody, token=token)


def test_revoked_invitation_is_not_found(cast: Cast) -> None:
    invitation, token = invite(user=cast.admin, team_id=cast.team.pk)

    revoke_invitation(user=cast.owner, team_id=cast.team.pk, invitation_id=invitation.pk)

    with pytest.raises(NotFound):
        accept_invitation(user=cast.nobody, token=token)
    with pytest.raises(NotFound):
        revoke_invitation(user=cast.owner, team_id=cast.team.pk, invitation_id=invitation.pk)


def test_invitation_of_another_team_cannot_be_revoked(cast: Cast) -> None:
    invitation, token = invite(user=cast.admin, team_id=cast.team.pk)

    with pytest.raises(NotFound):
        revoke_invitation(
            user=cast.stranger, team_id=cast.other_team.pk, invitation_id=invitation.pk
        )

    assert get_invitation(token)


def remove_inviter(cast: Cast) -> None:
    remove_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.admin.pk)


def demote_inviter(cast: Cast) -> None:
    set_team_role(user=cast.owner, team_id=cast.team.pk, member_id=cast.admin.pk, role="member")


def suspend_inviter(cast: Cast) -> None:
    suspend_user(person=cast.admin)


@pytest.mark.parametrize("event", [remove_inviter, demote_inviter, suspend_inviter])
def test_invitation_is_invalid_when_the_inviter_loses_the_role(cast: Cast, event: object) -> None:
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk)
    assert get_invitation(token)

    event(cast)  # type: ignore[operator]  # one of the three above

    with pytest.raises(NotFound):
        accept_invitation(user=cast.nobody, token=token)


def test_acceptance_by_a_member_counts_no_use(cast: Cast) -> None:
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk, role="admin")

    with pytest.raises(Conflict):
        accept_invitation(user=cast.guest, token=token)

    assert TeamMember.objects.get(user=cast.guest).role == TeamRole.GUEST
    assert accept_invitation(user=cast.nobody, token=token)


@pytest.mark.parametrize(
    ("actor", "role", "refusal"),
    [
        ("admin", "owner", Forbidden),
        ("member", "member", Forbidden),
        ("guest", "guest", Forbidden),
        ("stranger", "guest", NotFound),
        ("suspended", "guest", NotFound),
    ],
)
def test_inviter_cannot_grant_a_higher_role(
    cast: Cast, actor: str, role: str, refusal: type[MaruError]
) -> None:
    with pytest.raises(refusal):
        invite(user=cast.named(actor), team_id=cast.team.pk, role=role)

    assert not Invitation.objects.exists()


@pytest.mark.parametrize("wrong", ["", "x", "\0", "a" * 5_000])
def test_wrong_token_is_not_found(cast: Cast, wrong: str) -> None:
    with pytest.raises(NotFound):
        accept_invitation(user=cast.nobody, token=wrong)


def test_deleted_account_deletes_its_invitations(cast: Cast) -> None:
    invite(user=cast.admin, team_id=cast.team.pk)

    User.objects.filter(pk=cast.admin.pk).delete()

    assert not Invitation.objects.exists()


def test_invitation_admits_max_uses_users(cast: Cast) -> None:
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk, max_uses=2)
    accept_invitation(user=cast.nobody, token=token)
    accept_invitation(user=cast.stranger, token=token)

    with pytest.raises(NotFound):
        accept_invitation(user=make_user("Third"), token=token)


@pytest.mark.django_db(transaction=True)
def test_fifty_concurrent_users_of_three_uses_add_three_members(cast: Cast) -> None:
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk, max_uses=3)
    users = [make_user(f"Person{number}") for number in range(50)]

    joined = run_concurrently(
        lambda user: accept_invitation(user=user, token=token), users, MaruError
    )

    assert len(joined) == 3


def test_mailed_invitation_works_only_for_its_email(
    cast: Cast, mailoutbox: list[EmailMessage], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        _invitation, token = invite(
            user=cast.admin, team_id=cast.team.pk, email=cast.nobody.email.upper(), max_uses=9
        )

    (mail,) = mailoutbox
    assert mail.to == [cast.nobody.email]
    assert token in mail.body
    with pytest.raises(Forbidden):
        accept_invitation(user=cast.stranger, token=token)
    assert accept_invitation(user=cast.nobody, token=token)
    with pytest.raises(NotFound):  # an email has one use
        accept_invitation(user=cast.stranger, token=token)


def test_unverified_email_cannot_accept_a_mailed_invitation(cast: Cast, settings: Settings) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk, email="unproven@example.com")
    unverified = make_user("Unproven", verified=False)

    with pytest.raises(Forbidden):
        accept_invitation(user=unverified, token=token)


def join_by_mailed_link(cast: Cast, token: str) -> None:
    accept_invitation(user=cast.nobody, token=token)


def join_by_open_link(cast: Cast, token: str) -> None:
    _invitation, link = invite(user=cast.owner, team_id=cast.team.pk)
    accept_invitation(user=cast.nobody, token=link)


def join_without_invitation(cast: Cast, token: str) -> None:
    add_team_member(cast.team, cast.nobody, TeamRole.GUEST)


def join_suspended(cast: Cast, token: str) -> None:
    add_team_member(cast.team, cast.nobody, TeamRole.GUEST)
    suspend_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.nobody.pk)


def get_the_address_as_a_member(cast: Cast, token: str) -> None:
    EmailAddress.objects.filter(user=cast.nobody).delete()
    EmailAddress.objects.create(user=cast.member, email=cast.nobody.email, verified=True)


@pytest.mark.parametrize(
    "join",
    [
        join_by_mailed_link,
        join_by_open_link,
        join_without_invitation,
        join_suspended,
        get_the_address_as_a_member,
    ],
)
def test_no_invitation_stays_open_for_the_address_of_a_member(
    cast: Cast, join: Callable[[Cast, str], None]
) -> None:
    mailed: dict[str, Any] = {"team_id": cast.team.pk, "email": cast.nobody.email.upper()}
    _invitation, token = invite(user=cast.admin, **mailed)
    invite(user=cast.owner, **mailed)
    other, _token = invite(user=cast.admin, team_id=cast.team.pk, email="other@example.com")
    elsewhere, _token = invite(
        user=cast.stranger, team_id=cast.other_team.pk, email=cast.nobody.email
    )
    assert open_invitations(cast.team).count() == 3

    join(cast, token)

    assert list(open_invitations(cast.team)) == [other]
    assert list(open_invitations(cast.other_team)) == [elsewhere]
    with pytest.raises(Conflict):
        invite(user=cast.admin, **mailed)


def test_removed_user_cannot_come_back_with_another_invitation(cast: Cast) -> None:
    mailed: dict[str, Any] = {"team_id": cast.team.pk, "email": cast.nobody.email}
    (_first, token), (_second, other) = (invite(user=cast.admin, **mailed) for _ in range(2))
    accept_invitation(user=cast.nobody, token=token)

    remove_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.nobody.pk)

    with pytest.raises(NotFound):
        accept_invitation(user=cast.nobody, token=other)
    assert not open_invitations(cast.team).exists()


def test_address_that_is_not_verified_hides_no_invitation(cast: Cast, settings: Settings) -> None:
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    EmailAddress.objects.create(user=cast.member, email="claimed@example.com", verified=False)

    invitation, _token = invite(user=cast.admin, team_id=cast.team.pk, email="claimed@example.com")

    assert list(open_invitations(cast.team)) == [invitation]


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_uses": 0},
        {"max_uses": 1_001},
        {"lifetime": timedelta()},
        {"lifetime": timedelta(days=366)},
        {"email": "nonsense"},
        {"role": "king"},
    ],
)
def test_invalid_invitation_is_rejected(cast: Cast, wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        invite(user=cast.admin, team_id=cast.team.pk, **wrong)

    assert not Invitation.objects.exists()


def test_role_comes_from_the_invitation(cast: Cast) -> None:
    """The role is read from the row; the request cannot change it."""
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk, role="guest")

    member = accept_invitation(user=cast.nobody, token=token)

    assert member.role == TeamRole.GUEST
