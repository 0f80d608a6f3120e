"""`migrate` and the purge pass on what has no active owner; no fault of one team stops them."""

from collections.abc import Sequence
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone
from structlog.testing import capture_logs

from accounts.models import Team, TeamMember, TeamRole, User
from accounts.services import (
    suspend_user,
)
from accounts.services.teams import add_team_member
from maru.server.purging import purge
from rooms import services
from rooms.models import Room, RoomRole
from rooms.permissions import set_room_role
from rooms.services.people import owners as owners_module
from tests.rooms.conftest import Cast, make_user
from tests.rooms.services.test_owners import owners, room_of
from tests.security.invariants import violations

pytestmark = pytest.mark.django_db


def test_repair_revives_abandoned_open_rooms_of_teams_with_an_owner(cast: Cast) -> None:
    room = room_of(cast, privacy="team")
    suspend_user(person=cast.member)
    room.members.all().delete()
    set_room_role([cast.owner, cast.member], room, None)
    Room.objects.filter(pk=room.pk).update(abandoned_at=timezone.now(), archived_at=timezone.now())
    assert len(violations()) == 1

    assert services.repair_owners() == 1

    assert owners(room) == {cast.owner}


def test_repair_passes_on_what_earlier_versions_have_left(cast: Cast) -> None:
    """An earlier version deactivated accounts without passing on their rooms and teams."""
    shared, open_room, private = (
        room_of(cast, cast.reader),
        room_of(cast, privacy="team"),
        room_of(cast),
    )
    empty = room_of(cast, privacy="team")
    set_room_role([cast.member], empty, None)
    empty.members.all().delete()
    User.objects.filter(pk__in=[cast.member.pk, cast.owner.pk]).update(is_active=False)
    assert len(violations()) == 6  # the team, and the room of the cast

    assert services.repair_owners() == 5

    assert violations() == []
    assert owners(shared) == {cast.reader}
    team_owner = TeamMember.objects.active().get(team=cast.team, role=TeamRole.OWNER).user
    assert owners(open_room) == owners(empty) == {team_owner}
    assert Room.objects.get(pk=private.pk).abandoned_at is not None
    assert services.repair_owners() == 0


def test_purge_repairs_owners(cast: Cast) -> None:
    room = room_of(cast, cast.reader)
    User.objects.filter(pk=cast.member.pk).update(is_active=False)

    call_command("purge", stdout=StringIO())

    assert owners(room) == {cast.reader}


def test_migrate_repairs_owners(cast: Cast) -> None:
    room = room_of(cast, cast.reader)
    User.objects.filter(pk=cast.member.pk).update(is_active=False)
    MigrationRecorder(connection).migration_qs.filter(app="rooms").delete()

    call_command("migrate", fake=True, verbosity=0)

    assert owners(room) == {cast.reader}


def test_team_that_cannot_be_repaired_stops_neither_other_teams_nor_the_purge(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = room_of(cast, cast.reader)
    other_team = Team.objects.get(members__user=cast.stranger)
    other = services.create_room(user=cast.stranger, team_id=other_team.pk, name="other")
    newcomer = make_user("Newcomer")
    add_team_member(other_team, newcomer, TeamRole.MEMBER)
    services.add_members(other, [newcomer], RoomRole.MEMBER)
    User.objects.filter(pk__in=[cast.member.pk, cast.stranger.pk]).update(is_active=False)
    pass_on = owners_module.pass_on_ownerless_rooms

    def fail_for_the_first_team(rooms: Sequence[Room]) -> None:
        if any(each.team_id == cast.team.pk for each in rooms):
            raise OperationalError("deadlock detected")
        pass_on(rooms)

    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr(owners_module, "pass_on_ownerless_rooms", fail_for_the_first_team)
        purged = purge(teams=False)

    assert owners(other) == {newcomer}
    assert purged.keys() == KINDS.keys()
    assert [(log["event"], log["team"]) for log in logs] == [
        ("owners.not_repaired", str(cast.team.pk))
    ]
    services.repair_owners()
    assert owners(room) == {cast.reader}


KINDS = {
    "owners": "repair_owners",
    "teams": "purge_teams",
    "rooms": "purge_rooms",
    "responses": "purge_responses",
    "credentials": "purge_expired",
    "prompts": "purge_prompts",
    "summaries": "purge_summaries",
}


@pytest.mark.parametrize("kind", KINDS)
def test_kind_that_cannot_be_purged_stops_no_other_kind(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def fail() -> int:
        raise OperationalError("deadlock detected")

    monkeypatch.setattr(f"maru.server.purging.{KINDS[kind]}", fail)

    with capture_logs() as logs:
        purged = purge(teams=True)

    assert purged.keys() == KINDS.keys() - {kind}
    assert [(log["event"], log["kind"]) for log in logs] == [("purge.failed", kind)]
    with pytest.raises(CommandError, match=kind):
        call_command("purge", stdout=StringIO())
