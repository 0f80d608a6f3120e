"""Invitations: one person, once, for a while, and no stronger than whoever made them."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from accounts.errors import Conflict, Forbidden, MaruError, NotFound
from accounts.gate import VIEW, access_team
from accounts.models import Invitation, TeamMember, TeamRole, User
from accounts.services import (
    accept_invitation,
    invite,
    look_up_invitation,
    remove_team_member,
    revoke_invitation,
    set_team_role,
    suspend_user,
)
from tests.accounts.conftest import Cast, make_user
from tests.accounts.together import all_at_once

pytestmark = pytest.mark.django_db


def test_invitation_lets_one_person_into_its_team_by_its_role(cast: Cast) -> None:
    invitation, token = invite(user=cast.admin, team_id=cast.team.pk, role="guest")

    member = accept_invitation(user=cast.nobody, token=token)

    assert (member.team, member.role) == (cast.team, TeamRole.GUEST)
    assert access_team(cast.nobody, cast.team.pk, VIEW)
    invitation.refresh_from_db()
    assert invitation.uses == 1


def test_token_is_nowhere_in_the_row(cast: Cast) -> None:
    invitation, token = invite(user=cast.admin, team_id=cast.team.pk)

    assert token not in str(Invitation.objects.filter(pk=invitation.pk).values().get())


def test_second_person_finds_nothing(cast: Cast) -> None:
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk)
    accept_invitation(user=cast.nobody, token=token)

    with pytest.raises(NotFound):
        accept_invitation(user=cast.stranger, token=token)


@pytest.mark.django_db(transaction=True)
def test_one_of_fifty_who_accept_at_once_gets_in(cast: Cast) -> None:
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk)
    crowd = [make_user(f"Person{number}") for number in range(50)]

    joined = all_at_once(
        lambda person: accept_invitation(user=person, token=token), crowd, MaruError
    )

    assert len(joined) == 1
    assert TeamMember.objects.filter(user__in=crowd).count() == 1


@pytest.mark.django_db(transaction=True)
def test_one_person_who_accepts_many_times_at_once_is_in_once(cast: Cast) -> None:
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk)

    joined = all_at_once(
        lambda _number: accept_invitation(user=cast.nobody, token=token), range(8), MaruError
    )

    assert len(joined) == 1


def test_invitation_ends_after_seven_days(cast: Cast) -> None:
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk)
    now = timezone.now()

    with time_machine.travel(now + timedelta(days=7, seconds=-5)):
        assert look_up_invitation(token).team == cast.team
    with time_machine.travel(now + timedelta(days=7, seconds=5)), pytest.raises(NotFound):
        accept_invitation(user=cast.nobody, token=token)


def test_revoked_invitation_is_dead(cast: Cast) -> None:
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

    assert look_up_invitation(token)


def remove_inviter(cast: Cast) -> None:
    remove_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.admin.pk)


def demote_inviter(cast: Cast) -> None:
    set_team_role(user=cast.owner, team_id=cast.team.pk, member_id=cast.admin.pk, role="member")


def suspend_inviter(cast: Cast) -> None:
    suspend_user(person=cast.admin)


@pytest.mark.parametrize("fate", [remove_inviter, demote_inviter, suspend_inviter])
def test_invitation_dies_with_the_place_of_whoever_made_it(cast: Cast, fate: object) -> None:
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk)
    assert look_up_invitation(token)

    fate(cast)  # type: ignore[operator]  # one of the three above

    with pytest.raises(NotFound):
        accept_invitation(user=cast.nobody, token=token)


def test_member_of_the_team_does_not_use_it_up(cast: Cast) -> None:
    _invitation, token = invite(user=cast.admin, team_id=cast.team.pk, role="admin")

    with pytest.raises(Conflict):
        accept_invitation(user=cast.guest, token=token)

    assert TeamMember.objects.get(user=cast.guest).role == TeamRole.GUEST
    assert accept_invitation(user=cast.nobody, token=token)


@pytest.mark.parametrize(
    ("who", "role", "refusal"),
    [
        ("admin", "owner", Forbidden),
        ("member", "member", Forbidden),
        ("guest", "guest", Forbidden),
        ("stranger", "guest", NotFound),
        ("suspended", "guest", NotFound),
    ],
)
def test_invitation_is_no_stronger_than_its_maker(
    cast: Cast, who: str, role: str, refusal: type[MaruError]
) -> None:
    with pytest.raises(refusal):
        invite(user=cast.named(who), team_id=cast.team.pk, role=role)

    assert not Invitation.objects.exists()


@pytest.mark.parametrize("wrong", ["", "x", "\0", "a" * 5_000])
def test_wrong_token_finds_nothing(cast: Cast, wrong: str) -> None:
    with pytest.raises(NotFound):
        accept_invitation(user=cast.nobody, token=wrong)


def test_deleted_account_takes_its_invitations_along(cast: Cast) -> None:
    invite(user=cast.admin, team_id=cast.team.pk)

    User.objects.filter(pk=cast.admin.pk).delete()

    assert not Invitation.objects.exists()
