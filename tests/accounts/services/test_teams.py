"""The permission check of teams, and the services that change members."""

from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from uuid import uuid4

import pytest
from django.contrib.auth.models import AnonymousUser
from pytest_django import DjangoAssertNumQueries

from accounts.errors import Conflict, Forbidden, Invalid, MaruError, NotFound, Unauthenticated
from accounts.hooks import AccessRevoked
from accounts.models import Team, TeamMember, TeamPermission, TeamRole, User
from accounts.permissions import MANAGE, MANAGE_AGENTS, MANAGE_PEOPLE, VIEW, access_team
from accounts.roles import TEAM_ROLES, set_permissions
from accounts.services import (
    accept_invitation,
    create_team,
    create_token,
    invite,
    remove_team_member,
    rename_team,
    set_team_role,
    suspend_user,
    teams,
    tokens,
    user_for_token,
)
from accounts.services.teams import add_team_member
from tests.accounts.concurrency import run_concurrently
from tests.accounts.conftest import Cast, make_user
from tests.accounts.revocations import observe_revocations, record_revocations
from tests.security.locks import before_locks_and_writes

pytestmark = pytest.mark.django_db

PERMISSIONS = sorted(TEAM_ROLES["owner"])


@pytest.mark.parametrize("permission", PERMISSIONS)
@pytest.mark.parametrize("role", list(TEAM_ROLES))
def test_role_grants_exactly_its_permissions(cast: Cast, role: str, permission: str) -> None:
    user = cast.named(role)

    if permission in TEAM_ROLES[role]:
        assert access_team(user, cast.team.pk, permission) == cast.team
    else:
        with pytest.raises(Forbidden):
            access_team(user, cast.team.pk, permission)


@pytest.mark.parametrize("permission", PERMISSIONS)
@pytest.mark.parametrize("actor", ["stranger", "nobody", "suspended"])
def test_foreign_and_missing_team_raise_the_same_error(
    cast: Cast, actor: str, permission: str
) -> None:
    with pytest.raises(NotFound) as foreign:
        access_team(cast.named(actor), cast.team.pk, permission)
    with pytest.raises(NotFound) as absent:
        access_team(cast.named(actor), uuid4(), permission)

    assert str(foreign.value.detail) == str(absent.value.detail)


def test_anonymous_user_is_unauthenticated(cast: Cast) -> None:
    with pytest.raises(Unauthenticated):
        access_team(AnonymousUser(), cast.team.pk, VIEW)


def test_superuser_has_no_extra_permissions(cast: Cast) -> None:
    cast.stranger.is_staff = cast.stranger.is_superuser = True
    cast.stranger.save()

    with pytest.raises(NotFound):
        access_team(cast.stranger, cast.team.pk, VIEW)


@pytest.mark.parametrize("actor", ["owner", "guest", "stranger", "suspended"])
def test_permission_check_takes_one_query_for_each_user(
    cast: Cast, actor: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    user = cast.named(actor)

    with django_assert_num_queries(1), suppress(MaruError):
        access_team(user, cast.team.pk, MANAGE)


def test_set_permissions_gives_exactly_what_it_names(cast: Cast) -> None:
    set_permissions([cast.owner], cast.team, frozenset({VIEW}))

    granted = TeamPermission.objects.filter(user=cast.owner, content_object=cast.team)
    assert [row.permission.codename for row in granted] == [VIEW]


def test_set_permissions_rejects_an_unknown_name(cast: Cast) -> None:
    with pytest.raises(LookupError):
        set_permissions([cast.owner], cast.team, frozenset({"fly"}))


def test_creator_of_a_team_is_its_owner(cast: Cast) -> None:
    team = create_team(user=cast.nobody, name="  New   team ")

    assert team.name == "New team"
    assert access_team(cast.nobody, team.pk, MANAGE) == team


def test_only_owners_rename_the_team(cast: Cast) -> None:
    rename_team(user=cast.owner, team_id=cast.team.pk, name="Hangyeol")

    with pytest.raises(Forbidden):
        rename_team(user=cast.admin, team_id=cast.team.pk, name="Mine")

    cast.team.refresh_from_db()
    assert cast.team.name == "Hangyeol"


@pytest.mark.parametrize(
    ("actor", "role", "refusal"),
    [
        ("owner", "owner", None),
        ("owner", "guest", None),
        ("admin", "admin", None),
        ("admin", "owner", Forbidden),
        ("member", "guest", Forbidden),
        ("guest", "guest", Forbidden),
        ("stranger", "guest", NotFound),
        ("owner", "emperor", Invalid),
    ],
)
def test_roles_above_the_own_role_cannot_be_granted(
    cast: Cast, actor: str, role: str, refusal: type[MaruError] | None
) -> None:
    def add() -> TeamMember:
        _invitation, token = invite(user=cast.named(actor), team_id=cast.team.pk, role=role)
        return accept_invitation(user=cast.nobody, token=token)

    if refusal is None:
        assert add().role == role
        assert access_team(cast.nobody, cast.team.pk, VIEW)
        return
    with pytest.raises(refusal):
        add()
    assert not TeamMember.objects.filter(user=cast.nobody).exists()


def test_member_cannot_be_added_twice(cast: Cast) -> None:
    with pytest.raises(Conflict):
        add_team_member(cast.team, cast.guest, "admin")

    assert TeamMember.objects.get(user=cast.guest).role == TeamRole.GUEST


def test_new_role_takes_effect_at_once(cast: Cast) -> None:
    set_team_role(user=cast.owner, team_id=cast.team.pk, member_id=cast.admin.pk, role="guest")

    with pytest.raises(Forbidden):
        access_team(cast.admin, cast.team.pk, MANAGE_AGENTS)
    assert access_team(cast.admin, cast.team.pk, VIEW)


def test_admin_cannot_change_or_remove_an_owner(cast: Cast) -> None:
    with pytest.raises(Forbidden):
        set_team_role(user=cast.admin, team_id=cast.team.pk, member_id=cast.owner.pk, role="guest")
    with pytest.raises(Forbidden):
        remove_team_member(user=cast.admin, team_id=cast.team.pk, member_id=cast.owner.pk)

    assert TeamMember.objects.get(user=cast.owner, team=cast.team).role == TeamRole.OWNER


def test_last_owner_cannot_leave_or_step_down(cast: Cast) -> None:
    with pytest.raises(Conflict):
        remove_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.owner.pk)
    with pytest.raises(Conflict):
        set_team_role(user=cast.owner, team_id=cast.team.pk, member_id=cast.owner.pk, role="admin")

    assert access_team(cast.owner, cast.team.pk, MANAGE)


@pytest.mark.django_db(transaction=True)
def test_two_owners_who_demote_each_other_leave_one(cast: Cast) -> None:
    set_team_role(user=cast.owner, team_id=cast.team.pk, member_id=cast.admin.pk, role="owner")
    pairs = [(cast.owner, cast.admin), (cast.admin, cast.owner)]

    run_concurrently(
        lambda pair: set_team_role(
            user=pair[0], team_id=cast.team.pk, member_id=pair[1].pk, role="guest"
        ),
        pairs,
        MaruError,
    )

    assert TeamMember.objects.filter(team=cast.team, role=TeamRole.OWNER).count() == 1


def test_removed_member_loses_all_access_to_the_team(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoked = record_revocations(monkeypatch)
    token, bound = create_token(user=cast.member, name="bound", team=cast.team)
    _token, unbound = create_token(user=cast.member, name="unbound")

    remove_team_member(user=cast.admin, team_id=cast.team.pk, member_id=cast.member.pk)

    assert user_for_token(bound) is None
    assert user_for_token(unbound) is not None
    assert not TeamPermission.objects.filter(user=cast.member).exists()
    assert revoked == [
        AccessRevoked(user_id=cast.member.pk, token_id=token.pk),
        AccessRevoked(user_id=cast.member.pk, team_id=cast.team.pk),
    ]


def test_hook_that_raises_rolls_the_removal_back(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(event: AccessRevoked) -> None:
        raise Conflict

    observe_revocations(monkeypatch, refuse)

    with pytest.raises(Conflict):
        remove_team_member(user=cast.admin, team_id=cast.team.pk, member_id=cast.member.pk)

    assert access_team(cast.member, cast.team.pk, VIEW)


def test_member_may_leave(cast: Cast) -> None:
    remove_team_member(user=cast.guest, team_id=cast.team.pk, member_id=cast.guest.pk)

    with pytest.raises(NotFound):
        access_team(cast.guest, cast.team.pk, VIEW)


@pytest.mark.parametrize("actor", ["member", "guest"])
def test_member_cannot_remove_others(cast: Cast, actor: str) -> None:
    with pytest.raises(Forbidden):
        remove_team_member(user=cast.named(actor), team_id=cast.team.pk, member_id=cast.admin.pk)


def test_deleted_team_row_leaves_no_permissions(cast: Cast) -> None:
    Team.objects.filter(pk=cast.team.pk).delete()

    assert not TeamPermission.objects.exclude(user=cast.stranger).exists()


def test_member_who_is_added_again_has_the_permissions_of_the_new_role(cast: Cast) -> None:
    person = make_user("Back")
    for role in ("admin", "guest"):
        add_team_member(cast.team, person, role)
        last = role
        if role == "admin":
            remove_team_member(user=cast.owner, team_id=cast.team.pk, member_id=person.pk)

    assert last == "guest"
    with pytest.raises(Forbidden):
        access_team(person, cast.team.pk, MANAGE_PEOPLE)


@pytest.mark.parametrize(
    ("module", "limit", "create"),
    [
        (teams, "MAX_OWNED_TEAMS", lambda user: create_team(user=user, name="Team")),
        (tokens, "MAX_TOKENS", lambda user: create_token(user=user, name="script")),
    ],
    ids=["teams", "tokens"],
)
def test_limit_counts_what_was_created_while_the_request_waited(
    cast: Cast,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    limit: str,
    create: Callable[[User], object],
) -> None:
    monkeypatch.setattr(module, limit, 1)
    created: list[object] = []

    def create_another(_what: str) -> None:
        if not created:
            created.append(create(cast.nobody))

    with pytest.raises(Conflict), before_locks_and_writes(create_another):
        create(cast.nobody)

    assert len(created) == 1


def test_user_who_was_deactivated_meanwhile_creates_neither_a_team_nor_a_token(cast: Cast) -> None:
    suspend_user(person=User.objects.get(pk=cast.member.pk))

    with pytest.raises(Unauthenticated):
        create_team(user=cast.member, name="Team")
    with pytest.raises(Unauthenticated):
        create_token(user=cast.member, name="script")
