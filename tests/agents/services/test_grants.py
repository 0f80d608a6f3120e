"""The grants of a persona: who may use, edit, manage and share it."""

from uuid import uuid4

import pytest

from accounts.errors import Forbidden, Invalid, NotFound
from accounts.models import TeamRole, User
from accounts.services import remove_team_member, set_team_role
from accounts.services.teams import add_team_member
from agents.models import PersonaGrant
from agents.permissions import CHANGE, EDIT, SHARE, USE, access_persona, rights_in
from agents.services import (
    Grant,
    delete_persona,
    list_grants,
    put_grants,
    set_persona_enabled,
    update_persona,
)
from tests.agents.cast import Cast

pytestmark = pytest.mark.django_db

ALL_RIGHTS = {USE, EDIT, CHANGE, SHARE}


def grant(cast: Cast, *grants: Grant, by: User | None = None) -> None:
    put_grants(user=by or cast.owner, persona_id=cast.persona.pk, grants=grants)


def rights(user: User, cast: Cast) -> set[str]:
    """Return the rights for which `access_persona` passes."""
    held = set()
    for right in ALL_RIGHTS:
        try:
            access_persona(user, cast.persona.pk, right)
        except (Forbidden, NotFound):
            continue
        held.add(right)
    assert held == rights_in(user, cast.persona)
    return held


def test_a_new_persona_is_usable_by_the_team_and_managed_by_admins(cast: Cast) -> None:
    assert rights(cast.owner, cast) == rights(cast.admin, cast) == ALL_RIGHTS
    assert rights(cast.member, cast) == rights(cast.guest, cast) == {USE}
    assert rights(cast.stranger, cast) == rights(cast.nobody, cast) == set()


def test_a_right_is_granted_to_a_user_a_role_or_the_team(cast: Cast) -> None:
    grant(cast, Grant(frozenset({EDIT}), user=cast.member.pk))
    assert rights(cast.member, cast) == {USE, EDIT}
    assert rights(cast.guest, cast) == set()

    grant(cast, Grant(frozenset({SHARE}), role=TeamRole.GUEST))
    assert (rights(cast.member, cast), rights(cast.guest, cast)) == (set(), {USE, SHARE})

    grant(cast, Grant(frozenset({CHANGE})))
    assert rights(cast.member, cast) == rights(cast.guest, cast) == {USE, EDIT, CHANGE}


def test_a_change_of_role_ends_the_grants_of_the_old_role(cast: Cast) -> None:
    grant(cast, Grant(frozenset({EDIT}), role=TeamRole.MEMBER))

    set_team_role(
        user=cast.owner, team_id=cast.team.pk, member_id=cast.member.pk, role=TeamRole.GUEST
    )

    assert rights(cast.member, cast) == set()


def test_owners_and_admins_keep_all_rights(cast: Cast) -> None:
    grant(cast)

    assert rights(cast.owner, cast) == rights(cast.admin, cast) == ALL_RIGHTS
    assert rights(cast.member, cast) == set()


def test_a_user_cannot_grant_a_right_that_they_do_not_have(cast: Cast) -> None:
    grant(cast, Grant(frozenset({SHARE}), user=cast.member.pk))
    kept = Grant(frozenset({SHARE}), user=cast.member.pk)

    grant(cast, kept, Grant(frozenset({USE}), user=cast.guest.pk), by=cast.member)
    assert rights(cast.guest, cast) == {USE}
    for right in (EDIT, CHANGE):
        with pytest.raises(Forbidden):
            grant(cast, kept, Grant(frozenset({right}), user=cast.guest.pk), by=cast.member)
    with pytest.raises(Forbidden):
        grant(cast, by=cast.guest)
    with pytest.raises(NotFound):
        grant(cast, by=cast.stranger)


def test_a_user_of_another_team_is_not_found(cast: Cast) -> None:
    for user in (cast.stranger.pk, cast.nobody.pk, uuid4()):
        with pytest.raises(NotFound):
            grant(cast, Grant(frozenset({USE}), user=user))
    for wrong in (
        Grant(frozenset({"own"})),
        Grant(frozenset({USE}), role="king"),
        Grant(frozenset({USE}), user=cast.member.pk, role=TeamRole.GUEST),
    ):
        with pytest.raises(Invalid):
            grant(cast, wrong)

    assert rights(cast.member, cast) == {USE}


def test_an_editor_changes_the_texts_and_not_the_model(cast: Cast) -> None:
    grant(cast, Grant(frozenset({EDIT}), user=cast.member.pk))
    persona = cast.persona

    changed = update_persona(user=cast.member, persona_id=persona.pk, goal="Find more.")

    assert changed.goal == "Find more."
    for act in (
        lambda: update_persona(user=cast.member, persona_id=persona.pk, model="small"),
        lambda: set_persona_enabled(user=cast.member, persona_id=persona.pk, enabled=False),
        lambda: delete_persona(user=cast.member, persona_id=persona.pk),
        lambda: update_persona(user=cast.guest, persona_id=persona.pk, goal="Mine."),
    ):
        with pytest.raises((Forbidden, NotFound)):
            act()
    persona.refresh_from_db()
    assert (persona.model, persona.enabled) == ("large", True)


def test_a_member_who_returns_has_no_old_rights(cast: Cast) -> None:
    grant(cast, Grant(frozenset({CHANGE}), user=cast.member.pk))
    remove_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.member.pk)
    assert not PersonaGrant.objects.filter(user=cast.member).exists()

    add_team_member(cast.team, cast.member, TeamRole.MEMBER)

    assert rights(cast.member, cast) == set()


def test_list_grants_returns_what_put_grants_has_stored(cast: Cast) -> None:
    grant(cast, Grant(frozenset({EDIT}), user=cast.member.pk))

    found = {grant.grantee: grant.rights for grant in list_grants(cast.persona)}

    assert found == {
        (cast.member.pk, ""): {USE, EDIT},
        (None, TeamRole.ADMIN): ALL_RIGHTS,
        (None, TeamRole.OWNER): ALL_RIGHTS,
    }
