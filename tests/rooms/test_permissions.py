"""Permission checks: one query each, whether or not the object exists."""

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

Check = Callable[[User, UUID], object]

DECISION = 1  # nothing is cached, so a repeated check costs the same
FETCHED = {"message", "run", "connection"}  # read by a second query, after the permission check


def queries(act: Callable[[], object]) -> tuple[int, type[MaruError] | None]:
    """Call `act`; return the number of its queries and the type of its error."""
    with CaptureQueriesContext(connection) as captured:
        try:
            act()
        except MaruError as error:
            return len(captured), type(error)
    return len(captured), None


def with_permission(check: Callable[[User, UUID, str], object], permission: str) -> Check:
    return lambda user, pk: check(user, pk, permission)


def checks(cast: Cast) -> list[tuple[str, Check, UUID]]:
    """Return every permission check with the id of an object that it protects."""
    posted = services.post_message(user=cast.owner, room_id=cast.room.pk, text="hello")
    services.update_room(user=cast.owner, room_id=cast.room.pk, privacy="team")
    return [
        ("team", with_permission(access_team, "view"), cast.team.pk),
        ("room", with_permission(access_room, "view"), cast.room.pk),
        ("message", with_permission(access_message, "view"), posted.message.pk),
        ("run", with_permission(access_run, "view"), posted.runs[0]),
        ("persona", with_permission(access_persona, "use"), cast.persona.pk),
        (
            "connection",
            with_permission(access_connection, "manage_agents"),
            cast.persona.connection_id,
        ),
        ("open room", access_open_room, cast.room.pk),
    ]


def test_refusal_costs_one_query_whether_or_not_the_object_exists(cast: Cast) -> None:
    suspended = make_user("Suspended")
    add_team_member(cast.team, suspended, TeamRole.MEMBER)
    suspend_team_member(user=cast.owner, team_id=cast.team.pk, member_id=suspended.pk)
    inactive = make_user("Inactive")
    add_team_member(cast.team, inactive, TeamRole.ADMIN)
    suspend_user(person=inactive)

    for name, check, object_id in checks(cast):
        for user in (cast.stranger, cast.nobody, suspended, inactive):
            existing = queries(partial(check, user, object_id))
            absent = queries(partial(check, user, uuid4()))
            assert existing == absent == (DECISION, NotFound), (name, user)


@pytest.mark.parametrize("requires_mfa", [False, True])
def test_granted_check_costs_one_query_and_one_for_the_object(
    cast: Cast, *, requires_mfa: bool
) -> None:
    if requires_mfa:
        enable_totp(cast.owner)
        require_mfa(user=cast.owner, team_id=cast.team.pk, required=True)
    for name, check, object_id in checks(cast):
        ContentType.objects.clear_cache()
        count, refused = queries(partial(check, cast.owner, object_id))

        assert refused is None, name
        assert count == DECISION + (name in FETCHED), name


def test_forbidden_is_only_for_users_who_may_see_the_object(cast: Cast) -> None:
    posted = services.post_message(user=cast.owner, room_id=cast.room.pk, text="hello")

    for act in (
        lambda: access_room(cast.reader, cast.room.pk, "post"),
        lambda: access_message(cast.reader, posted.message.pk, "post"),
        lambda: access_run(cast.member, posted.runs[0], "moderate"),
        lambda: access_team(cast.member, cast.team.pk, "manage"),
        lambda: access_persona(cast.member, cast.persona.pk, "edit"),
    ):
        assert queries(act) == (DECISION, Forbidden)


def test_open_room_is_not_found_for_guests(cast: Cast) -> None:
    guest = make_user("Guest")
    add_team_member(cast.team, guest, TeamRole.GUEST)
    services.update_room(user=cast.owner, room_id=cast.room.pk, privacy="team")

    existing = queries(lambda: access_open_room(guest, cast.room.pk))

    assert existing == queries(lambda: access_open_room(guest, uuid4())) == (DECISION, NotFound)
