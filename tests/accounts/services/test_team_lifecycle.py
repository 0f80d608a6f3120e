"""Hand-over, suspension of members, deletion and restoration of teams."""

from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.errors import Conflict, Forbidden, Invalid, MaruError, NotFound
from accounts.models import Team, TeamRole
from accounts.permissions import MANAGE, VIEW, access_deleted_team, access_team, deleted_teams
from accounts.services import (
    accept_invitation,
    create_team,
    create_token,
    delete_team,
    get_invitation,
    hand_over_team,
    invite,
    remove_team_member,
    restore_team,
    restore_team_member,
    suspend_team_member,
    user_for_token,
)
from accounts.services.teams import add_team_member, role_in
from tests.accounts.conftest import Cast, make_user
from tests.accounts.revocations import record_revocations

pytestmark = pytest.mark.django_db


def test_team_is_handed_over(cast: Cast) -> None:
    hand_over_team(user=cast.owner, team_id=cast.team.pk, member_id=cast.guest.pk)

    assert role_in(cast.team, cast.guest.pk) == TeamRole.OWNER
    assert role_in(cast.team, cast.owner.pk) == TeamRole.ADMIN
    with pytest.raises(Forbidden):
        hand_over_team(user=cast.owner, team_id=cast.team.pk, member_id=cast.owner.pk)
    with pytest.raises(Conflict):
        remove_team_member(user=cast.guest, team_id=cast.team.pk, member_id=cast.guest.pk)


def test_queries_of_a_deletion_do_not_depend_on_the_number_of_tokens(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoked = record_revocations(monkeypatch)
    costs = []
    for tokens in (1, 4):
        team = create_team(user=cast.stranger, name="Short")
        for _ in range(tokens):
            add_team_member(team, person := make_user(f"P{uuid4().hex[:6]}"), "member")
            create_token(user=person, name="bound", team=team)
        with CaptureQueriesContext(connection) as captured:
            delete_team(user=cast.stranger, team_id=team.pk, name="Short")
        costs.append(len(captured))

    assert costs[0] == costs[1]
    assert len({event.token_id for event in revoked}) == 5


def test_suspended_member_loses_all_access_until_restored(cast: Cast) -> None:
    _token, bound = create_token(user=cast.admin, name="bound", team=cast.team)
    _invitation, link = invite(user=cast.admin, team_id=cast.team.pk)

    suspend_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.admin.pk)

    assert user_for_token(bound) is None
    assert not Team.objects.visible_to(cast.admin).exists()
    for refused in (
        lambda: access_team(cast.admin, cast.team.pk, VIEW),
        lambda: get_invitation(link),
        lambda: role_in(cast.team, cast.admin.pk),
        lambda: remove_team_member(user=cast.admin, team_id=cast.team.pk, member_id=cast.admin.pk),
    ):
        with pytest.raises(NotFound):
            refused()

    restore_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.admin.pk)

    assert user_for_token(bound) is not None
    assert get_invitation(link)
    assert role_in(cast.team, cast.admin.pk) == TeamRole.ADMIN


def test_suspended_member_cannot_accept_an_invitation(cast: Cast) -> None:
    _invitation, link = invite(user=cast.owner, team_id=cast.team.pk)
    suspend_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.member.pk)

    with pytest.raises(Conflict):
        accept_invitation(user=cast.member, token=link)

    with pytest.raises(NotFound):
        access_team(cast.member, cast.team.pk, VIEW)


@pytest.mark.parametrize(
    ("actor", "target", "refusal"),
    [
        ("owner", "owner", Conflict),
        ("admin", "owner", Forbidden),
        ("member", "guest", Forbidden),
        ("guest", "member", Forbidden),
        ("stranger", "member", NotFound),
        ("owner", "stranger", NotFound),
    ],
)
def test_suspension_is_refused(
    cast: Cast, actor: str, target: str, refusal: type[MaruError]
) -> None:
    for act in (suspend_team_member, restore_team_member):
        expected = (
            NotFound if act is restore_team_member and actor in ("owner", "admin") else refusal
        )
        with pytest.raises(expected):
            act(user=cast.named(actor), team_id=cast.team.pk, member_id=cast.named(target).pk)


def test_deletion_needs_the_name_and_an_owner(cast: Cast) -> None:
    with pytest.raises(Invalid):
        delete_team(user=cast.owner, team_id=cast.team.pk, name="hangyeol commerce")
    for actor, refusal in (("admin", Forbidden), ("guest", Forbidden), ("stranger", NotFound)):
        with pytest.raises(refusal):
            delete_team(user=cast.named(actor), team_id=cast.team.pk, name=cast.team.name)

    assert access_team(cast.owner, cast.team.pk, MANAGE)


def test_deleted_team_is_accessible_only_to_owners_who_restore_it(cast: Cast) -> None:
    _token, bound = create_token(user=cast.member, name="bound", team=cast.team)
    _invitation, link = invite(user=cast.owner, team_id=cast.team.pk)
    delete_team(user=cast.owner, team_id=cast.team.pk, name=cast.team.name)

    for actor in ("owner", "admin", "member", "guest"):
        with pytest.raises(NotFound):
            access_team(cast.named(actor), cast.team.pk, VIEW)
    for actor in ("admin", "member", "stranger"):
        assert deleted_teams(cast.named(actor)) == []
        for gate in (access_deleted_team, lambda user, pk: restore_team(user=user, team_id=pk)):
            with pytest.raises(NotFound):
                gate(cast.named(actor), cast.team.pk)
    assert user_for_token(bound) is None
    with pytest.raises(NotFound):
        accept_invitation(user=cast.nobody, token=link)
    assert deleted_teams(cast.owner) == [cast.team]

    restore_team(user=cast.owner, team_id=cast.team.pk)

    assert access_team(cast.guest, cast.team.pk, VIEW)
    assert user_for_token(bound) is not None
