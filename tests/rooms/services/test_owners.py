"""No room is left without an active member who can manage it, however its owner goes.

`tests.security.invariants` checks the same after every test; here the heir is checked.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import TypedDict
from uuid import UUID

import pytest
import time_machine
from django.utils import timezone

from accounts import permissions
from accounts.errors import Conflict, NotFound
from accounts.models import AuditEntry, Team, TeamMember, TeamRole, User
from accounts.permissions import access_team
from accounts.services import (
    hand_over_team,
    remove_team_member,
    restore_team_member,
    restore_user,
    set_team_role,
    suspend_team_member,
    suspend_user,
)
from accounts.services.teams import add_team_member
from agents.services import put_grants
from agents.services.grants import Grant
from rooms import services
from rooms.models import Room, RoomMember, RoomRole, Run, RunState
from rooms.permissions import MANAGE, POST, VIEW, access_room
from rooms.services.people.owners import ABANDONED_RETENTION
from rooms.services.rooms import RETENTION
from tests.rooms.conftest import Cast, make_user

pytestmark = pytest.mark.django_db

Part = Callable[[Cast, User], object]

PARTING: dict[str, Part] = {
    "removed": lambda cast, user: remove_team_member(
        user=cast.owner, team_id=cast.team.pk, member_id=user.pk
    ),
    "left": lambda cast, user: remove_team_member(
        user=user, team_id=cast.team.pk, member_id=user.pk
    ),
    "suspended": lambda cast, user: suspend_team_member(
        user=cast.owner, team_id=cast.team.pk, member_id=user.pk
    ),
    "deactivated": lambda cast, user: suspend_user(person=user),
    "guest": lambda cast, user: set_team_role(
        user=cast.owner, team_id=cast.team.pk, member_id=user.pk, role=TeamRole.GUEST
    ),
}
"""The ways in which an owner loses a room against the rules of the room."""

ways = pytest.mark.parametrize("part", PARTING.values(), ids=PARTING)


def room_of(cast: Cast, *others: User, privacy: str = "private") -> Room:
    """Return a room that `cast.member` owns, with `others` as members."""
    room = services.create_room(user=cast.member, team_id=cast.team.pk, name="own", privacy=privacy)
    for user in others:
        services.add_members(room, [user], RoomRole.MEMBER)
    return room


class MemberArguments(TypedDict):
    user: User
    team_id: UUID
    member_id: UUID


def member_arguments(cast: Cast) -> MemberArguments:
    """Return the arguments of a service by which the owner changes `cast.member`."""
    return MemberArguments(user=cast.owner, team_id=cast.team.pk, member_id=cast.member.pk)


def owners(room: Room) -> set[User]:
    found = RoomMember.objects.active().filter(room=room, role=RoomRole.OWNER)
    return {member.user for member in found.select_related("user")}


def inherited(room: Room) -> list[str]:
    """Return the audited actions of the server on the room."""
    entries = AuditEntry.objects.filter(target_id=room.pk, actor=None).order_by("number")
    return list(entries.values_list("action", flat=True))


@ways
def test_open_room_passes_to_its_next_active_member(cast: Cast, part: Part) -> None:
    guest = make_user("Guest")
    add_team_member(cast.team, guest, TeamRole.GUEST)
    room = room_of(cast, guest, cast.moderator, cast.reader, privacy="team")
    suspend_user(person=cast.moderator)

    part(cast, cast.member)

    assert owners(room) == {cast.reader}
    assert access_room(cast.reader, room.pk, MANAGE)
    assert inherited(room) == ["room.inherited"]


@ways
def test_open_room_without_members_passes_to_an_owner_of_the_team(cast: Cast, part: Part) -> None:
    room = room_of(cast, privacy="team")

    part(cast, cast.member)

    assert owners(room) == {cast.owner}
    assert access_room(cast.owner, room.pk, MANAGE)
    assert services.join_room(user=cast.reader, room_id=room.pk)


@pytest.mark.parametrize("name", sorted(PARTING.keys() - {"guest"}))
def test_private_room_without_members_is_archived_and_purged(cast: Cast, name: str) -> None:
    room = room_of(cast)

    PARTING[name](cast, cast.member)

    room.refresh_from_db()
    assert room.archived_at == room.abandoned_at is not None
    assert inherited(room) == ["room.abandoned"]
    for user in (cast.owner, cast.reader):  # it is never opened to people who were not in it
        with pytest.raises(NotFound):
            access_room(user, room.pk, VIEW)
    now = timezone.now()
    with time_machine.travel(now + ABANDONED_RETENTION - timedelta(hours=1)):
        services.purge_rooms()
        assert Room.objects.filter(pk=room.pk, deleted_at=None).exists()
    with time_machine.travel(now + ABANDONED_RETENTION + timedelta(hours=1)):
        services.purge_rooms()
    with time_machine.travel(now + ABANDONED_RETENTION + RETENTION + timedelta(hours=2)):
        services.purge_rooms()
    assert not Room.objects.filter(pk=room.pk).exists()


def test_private_room_stays_with_a_member_who_becomes_a_guest(cast: Cast) -> None:
    room = room_of(cast)

    PARTING["guest"](cast, cast.member)

    assert owners(room) == {cast.member}


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("account", [False, True])
def test_returning_member_gets_the_room_back(cast: Cast, *, account: bool, archived: bool) -> None:
    room = room_of(cast)
    if archived:
        services.archive_room(user=cast.member, room_id=room.pk)
    names = member_arguments(cast)
    if account:
        suspend_user(person=cast.member)
        restore_user(person=cast.member)
    else:
        suspend_team_member(**names)
        restore_team_member(**names)

    room.refresh_from_db()
    assert room.abandoned_at is None
    assert (room.archived_at is not None) == archived
    assert access_room(cast.member, room.pk, MANAGE, even_archived=True)
    with time_machine.travel(timezone.now() + ABANDONED_RETENTION + timedelta(days=1)):
        services.purge_rooms()
    assert Room.objects.filter(pk=room.pk, deleted_at=None).exists()


def test_abandoned_room_passes_to_the_first_member_who_returns(cast: Cast) -> None:
    room = room_of(cast, cast.reader)
    for user in (cast.reader, cast.member):
        suspend_user(person=user)

    restore_user(person=cast.reader)

    assert owners(room) == {cast.reader}


def test_account_and_membership_must_both_be_active(cast: Cast) -> None:
    room = room_of(cast, cast.reader)
    names = member_arguments(cast)
    suspend_user(person=cast.member)
    suspend_team_member(**names)

    restore_user(person=cast.member)

    with pytest.raises(NotFound):
        access_room(cast.member, room.pk, VIEW)
    restore_team_member(**names)
    assert owners(room) == {cast.member, cast.reader}


def test_deactivated_owner_does_not_count_as_an_owner(cast: Cast) -> None:
    room = room_of(cast, cast.reader)
    services.put_member(
        user=cast.member, room_id=room.pk, member_id=cast.reader.pk, role=RoomRole.OWNER
    )
    suspend_user(person=cast.reader)

    with pytest.raises(Conflict):
        services.remove_member(user=cast.member, room_id=room.pk, member_id=cast.member.pk)
    with pytest.raises(Conflict):
        services.put_member(
            user=cast.member, room_id=room.pk, member_id=cast.member.pk, role=RoomRole.MEMBER
        )
    with pytest.raises(NotFound):
        services.hand_over_room(user=cast.member, room_id=room.pk, member_id=cast.reader.pk)


def test_deactivated_owner_of_a_team_does_not_count(cast: Cast) -> None:
    user, team_id, other = cast.owner, cast.team.pk, cast.member.pk
    set_team_role(user=user, team_id=team_id, member_id=other, role=TeamRole.OWNER)
    suspend_user(person=cast.member)

    with pytest.raises(Conflict):
        remove_team_member(user=user, team_id=team_id, member_id=user.pk)
    with pytest.raises(Conflict):
        set_team_role(user=user, team_id=team_id, member_id=user.pk, role=TeamRole.MEMBER)
    with pytest.raises(NotFound):
        hand_over_team(user=user, team_id=team_id, member_id=other)


def test_team_of_a_deactivated_owner_passes_to_its_highest_member(cast: Cast) -> None:
    room = services.create_room(user=cast.owner, team_id=cast.team.pk, name="alone", privacy="team")
    set_team_role(
        user=cast.owner, team_id=cast.team.pk, member_id=cast.reader.pk, role=TeamRole.ADMIN
    )

    suspend_user(person=cast.owner)

    heir = TeamMember.objects.active().get(team=cast.team, role=TeamRole.OWNER)
    assert heir.user == cast.reader
    assert owners(room) == {cast.reader}
    assert AuditEntry.objects.filter(team=cast.team, action="team.inherited").count() == 1


def test_team_without_active_members_returns_with_its_owner(cast: Cast) -> None:
    team = Team.objects.get(members__user=cast.stranger)
    room = services.create_room(user=cast.stranger, team_id=team.pk, name="open", privacy="team")

    suspend_user(person=cast.stranger)
    assert inherited(room) == ["room.abandoned"]
    restore_user(person=cast.stranger)

    assert access_room(cast.stranger, room.pk, POST)


@pytest.mark.parametrize("name", ["owner", "reader"])
def test_team_and_open_room_pass_to_the_first_user_who_is_reactivated(
    cast: Cast, name: str
) -> None:
    """The room has no member but `member`; `reader` is no owner of the team yet."""
    open_room, private = room_of(cast, privacy="team"), room_of(cast)
    everybody = (cast.owner, cast.moderator, cast.reader, cast.member)
    for user in everybody:
        suspend_user(person=user)
    returning = getattr(cast, name)

    restore_user(person=returning)

    assert access_team(returning, cast.team.pk, permissions.MANAGE)
    assert owners(open_room) == {returning}
    assert access_room(returning, open_room.pk, POST)
    assert inherited(open_room) == ["room.abandoned", "room.revived", "room.inherited"]
    assert Room.objects.get(pk=private.pk).abandoned_at is not None
    assert services.repair_owners() == 0


def test_open_room_that_was_archived_before_its_abandonment_stays_archived(cast: Cast) -> None:
    room = room_of(cast, privacy="team")
    services.archive_room(user=cast.member, room_id=room.pk)
    for user in (cast.owner, cast.moderator, cast.reader, cast.member):
        suspend_user(person=user)

    restore_user(person=cast.owner)

    room.refresh_from_db()
    assert room.abandoned_at is None
    assert room.archived_at is not None
    assert owners(room) == {cast.owner}


@pytest.mark.parametrize("role", [TeamRole.MEMBER, TeamRole.ADMIN])
def test_run_ends_if_only_the_former_lower_role_may_use_the_persona(cast: Cast, role: str) -> None:
    """A higher role may end a right; the roles of an owner and an admin include all rights."""
    guest = make_user("Guest")
    add_team_member(cast.team, guest, TeamRole.GUEST)
    services.add_members(cast.room, [guest], RoomRole.MEMBER)
    put_grants(
        user=cast.owner,
        persona_id=cast.persona.pk,
        grants=[Grant(frozenset({"use"}), role=TeamRole.GUEST)],
    )
    services.post_message(
        user=guest, room_id=cast.room.pk, text="question", personas=[cast.persona.pk]
    )

    set_team_role(user=cast.owner, team_id=cast.team.pk, member_id=guest.pk, role=role)

    ended = Run.objects.get().state == RunState.FAILED
    assert ended == (role == TeamRole.MEMBER)
