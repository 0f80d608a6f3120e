"""The gates: one question each, at a price that does not say what is there."""

from collections.abc import Callable
from functools import partial
from uuid import UUID, uuid4

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.errors import Forbidden, MaruError, NotFound
from accounts.models import TeamRole, User
from accounts.permissions import access_team
from accounts.services import require_mfa, suspend_team_member, suspend_user
from accounts.services.teams import add_team_member
from agents.permissions import access_connection, access_persona
from rooms import services
from rooms.permissions import access_message, access_open_room, access_room, access_run
from tests.accounts.login.totp import enable_totp
from tests.rooms.conftest import Cast, make_user

pytestmark = pytest.mark.django_db

Gate = Callable[[User, UUID], object]

DECISION = 1  # warm and cold alike: nothing of it is kept
FETCHED = {"message", "run", "connection"}  # by a query of their own, behind the decision


def queries(act: Callable[[], object]) -> tuple[int, type[MaruError] | None]:
    """Do something; return how many queries it took and what it was refused with."""
    with CaptureQueriesContext(connection) as asked:
        try:
            act()
        except MaruError as error:
            return len(asked), type(error)
    return len(asked), None


def to(gate: Callable[[User, UUID, str], object], permission: str) -> Gate:
    return lambda user, pk: gate(user, pk, permission)


def gates(cast: Cast) -> list[tuple[str, Gate, UUID]]:
    """Every gate, with the id of a thing behind it."""
    posted = services.post_message(user=cast.owner, room_id=cast.room.pk, text="hello")
    services.update_room(user=cast.owner, room_id=cast.room.pk, privacy="team")
    return [
        ("team", to(access_team, "view"), cast.team.pk),
        ("room", to(access_room, "view"), cast.room.pk),
        ("message", to(access_message, "view"), posted.message.pk),
        ("run", to(access_run, "view"), posted.runs[0]),
        ("persona", to(access_persona, "use"), cast.persona.pk),
        ("connection", to(access_connection, "manage_agents"), cast.persona.connection_id),
        ("open room", access_open_room, cast.room.pk),
    ]


def test_refusal_costs_one_query_whether_the_thing_is_there_or_not(cast: Cast) -> None:
    suspended = make_user("Suspended")
    add_team_member(cast.team, suspended, TeamRole.MEMBER)
    suspend_team_member(user=cast.owner, team_id=cast.team.pk, member_id=suspended.pk)
    inactive = make_user("Inactive")
    add_team_member(cast.team, inactive, TeamRole.ADMIN)
    suspend_user(person=inactive)

    for name, gate, thing in gates(cast):
        for user in (cast.stranger, cast.nobody, suspended, inactive):
            there = queries(partial(gate, user, thing))
            absent = queries(partial(gate, user, uuid4()))
            assert there == absent == (DECISION, NotFound), (name, user)


@pytest.mark.parametrize("asks_for_two_steps", [False, True])
def test_consent_costs_one_query_and_one_for_the_thing(
    cast: Cast, *, asks_for_two_steps: bool
) -> None:
    if asks_for_two_steps:
        enable_totp(cast.owner)
        require_mfa(user=cast.owner, team_id=cast.team.pk, required=True)
    for name, gate, thing in gates(cast):
        ContentType.objects.clear_cache()
        count, refused = queries(partial(gate, cast.owner, thing))

        assert refused is None, name
        assert count == DECISION + (name in FETCHED), name


def test_forbidden_is_only_for_those_who_see_the_thing(cast: Cast) -> None:
    posted = services.post_message(user=cast.owner, room_id=cast.room.pk, text="hello")

    for act in (
        lambda: access_room(cast.reader, cast.room.pk, "post"),
        lambda: access_message(cast.reader, posted.message.pk, "post"),
        lambda: access_run(cast.member, posted.runs[0], "moderate"),
        lambda: access_team(cast.member, cast.team.pk, "manage"),
        lambda: access_persona(cast.member, cast.persona.pk, "edit"),
    ):
        assert queries(act) == (DECISION, Forbidden)


def test_guest_does_not_learn_that_an_open_room_is_there(cast: Cast) -> None:
    guest = make_user("Guest")
    add_team_member(cast.team, guest, TeamRole.GUEST)
    services.update_room(user=cast.owner, room_id=cast.room.pk, privacy="team")

    there = queries(lambda: access_open_room(guest, cast.room.pk))

    assert there == queries(lambda: access_open_room(guest, uuid4())) == (DECISION, NotFound)
