"""A handle of a team belongs to one person or one persona: the first that takes it."""

from collections.abc import Callable
from typing import Any

import pytest

from accounts.errors import Conflict, MaruError
from accounts.models import TeamHandle, TeamRole, User
from accounts.names import handle_key
from accounts.services import accept_invitation, create_user, invite, remove_team_member
from accounts.services.handles import take_handle, taken_handles
from accounts.services.teams import add_team_member
from agents.models import Persona
from agents.services import (
    create_demo_persona,
    create_persona,
    delete_persona,
    restore_persona,
    update_persona,
)
from tests.accounts.concurrency import run_concurrently
from tests.agents.cast import Cast

pytestmark = pytest.mark.django_db


def persona_of(cast: Cast, handle: str = "", name: str = "Kim") -> Persona:
    return create_persona(
        user=cast.owner,
        team_id=cast.team.pk,
        name=name,
        handle=handle,
        role="Scribe",
        goal="Write",
        connection=cast.connection.pk,
        model="m",
    )


def link(cast: Cast) -> str:
    return invite(user=cast.owner, team_id=cast.team.pk)[1]


@pytest.mark.parametrize("handle", ["admin", "ADMIN", "@admin", "ａｄｍｉｎ"])  # full width
def test_persona_cannot_take_the_handle_of_a_member(cast: Cast, handle: str) -> None:
    other = persona_of(cast, "other")

    takes: list[Callable[[], object]] = [
        lambda: persona_of(cast, handle),
        lambda: update_persona(user=cast.owner, persona_id=other.pk, handle=handle),
    ]
    for take in takes:
        with pytest.raises(Conflict) as refused:
            take()
        assert refused.value.fields is not None
        assert "handle" in refused.value.fields
    assert persona_of(cast, "elsewhere").handle == "elsewhere"


@pytest.mark.parametrize(
    ("name", "handle"),
    [("José", "jos\u0065\u0301"), ("Straße", "strasse"), ("가람", "\u1100\u1161람")],
)
def test_handles_are_compared_in_one_form(cast: Cast, name: str, handle: str) -> None:
    user = create_user(name=name, email="someone@example.com", verified=True)
    add_team_member(cast.team, user, TeamRole.MEMBER)

    with pytest.raises(Conflict):
        persona_of(cast, handle)


def test_derived_handle_of_a_persona_leaves_out_the_handles_of_people(cast: Cast) -> None:
    assert persona_of(cast, name="Admin").handle == "admin-2"
    assert persona_of(cast, name="Admin").handle == "admin-3"


def test_newcomer_to_all_teams_gets_another_handle(cast: Cast) -> None:
    persona_of(cast, "nobody")

    accept_invitation(user=cast.nobody, token=link(cast))

    cast.nobody.refresh_from_db()
    assert cast.nobody.handle.startswith("nobody-")
    assert cast.nobody.handle in taken_handles(cast.team)


def test_person_of_another_team_is_told_which_persona_has_the_handle(cast: Cast) -> None:
    persona = persona_of(cast, "stranger")
    token = link(cast)

    with pytest.raises(Conflict, match="conflict") as refused:
        accept_invitation(user=cast.stranger, token=token)
    assert "@stranger" in str(refused.value.detail)
    cast.stranger.refresh_from_db()
    assert cast.stranger.handle == "stranger"

    update_persona(user=cast.owner, persona_id=persona.pk, handle="strangest")
    assert accept_invitation(user=cast.stranger, token=token)


def test_person_gets_another_handle_in_all_teams_if_a_member_has_the_same_one(cast: Cast) -> None:
    User.objects.filter(pk=cast.stranger.pk).update(handle="straße")
    other_team = cast.stranger.memberships.get().team
    take_handle(other_team.pk, cast.stranger.pk, "straße")
    member = create_user(name="Strasse", email="strasse@example.com", verified=True)
    add_team_member(cast.team, member, TeamRole.MEMBER)

    accept_invitation(user=User.objects.get(pk=cast.stranger.pk), token=link(cast))

    cast.stranger.refresh_from_db()
    assert cast.stranger.handle not in ("straße", member.handle)
    for team in (cast.team, other_team):
        assert handle_key(cast.stranger.handle) in taken_handles(team)
    assert "strasse" not in taken_handles(other_team)


def test_restored_version_does_not_take_the_handle_of_a_member(cast: Cast) -> None:
    persona = persona_of(cast, "stranger")
    update_persona(user=cast.owner, persona_id=persona.pk, handle="other")
    add_team_member(cast.team, cast.stranger, TeamRole.MEMBER)

    with pytest.raises(Conflict):
        restore_persona(user=cast.owner, persona_id=persona.pk, number=1)


def test_handle_is_free_again_after_its_holder_has_gone(cast: Cast) -> None:
    remove_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.member.pk)
    persona = persona_of(cast, "member")

    delete_persona(user=cast.owner, persona_id=persona.pk)

    add_team_member(cast.team, cast.member, TeamRole.MEMBER)
    assert "member" in taken_handles(cast.team)


def test_same_handle_is_allowed_in_different_teams(cast: Cast) -> None:
    team_id = cast.stranger.memberships.get().team_id
    stranger = create_demo_persona(user=cast.stranger, team_id=team_id)

    assert update_persona(user=cast.stranger, persona_id=stranger.pk, handle="admin")


@pytest.mark.django_db(transaction=True)
def test_one_of_a_person_and_personas_that_come_at_once_gets_the_handle(cast: Cast) -> None:
    persona_of(cast, "first")
    token = link(cast)

    def join(_number: int) -> Any:
        return accept_invitation(user=cast.stranger, token=token)

    def create(_number: int) -> Any:
        return persona_of(cast, "stranger")

    came = run_concurrently(lambda number: (create, join)[number % 2](number), range(6), MaruError)

    assert len(came) == 1
    assert TeamHandle.objects.filter(team=cast.team, handle="stranger").count() == 1
