"""Applies the loss and the return of access to a team to the rooms of the user.

Called by `rooms.services.hooks`; the caller has checked the permission of the acting user and holds
the lock of the team. Rooms are locked in the order of their ids.
"""

from collections.abc import Collection, Iterator
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from accounts.audit.log import audit_last
from accounts.models import TeamMember, User
from rooms.event_log import record
from rooms.models import Room, RoomMember
from rooms.permissions import set_room_role
from rooms.protocol.events import MemberAdded, MemberRemoved
from rooms.protocol.serializers import member_body
from rooms.runs.ending import fail_unauthorized_runs
from rooms.runs.steps.open_approvals import recheck_approvals
from rooms.services.people.members import remove
from rooms.services.people.owners import ownerless_rooms, pass_on_ownerless_rooms, revive
from rooms.services.questions import recheck_questions


@transaction.atomic
@audit_last()
def leave_rooms(*, member: User, team_id: UUID, privacy: str | None = None) -> None:
    """Remove a user from the rooms of a team, or only from the rooms with this `privacy`."""
    left: list[Room] = []
    for room, membership in _lock_memberships(member, team_id):
        if privacy in (None, room.privacy):
            remove(room, membership)
            left.append(room)
    _pass_on(left)


@transaction.atomic
@audit_last()
def suspend_from_rooms(*, member: User, team_id: UUID) -> None:
    """Remove a user's permissions in the rooms of a team; keep the memberships."""
    left: list[Room] = []
    for room, membership in _lock_memberships(member, team_id):
        membership.suspended = True
        membership.save(update_fields=["suspended"])
        set_room_role([member], room, None)
        if member.is_active:
            _record_removal(room, member)
        left.append(room)
    _pass_on(left)


@transaction.atomic
@audit_last()
def restore_to_rooms(*, member: User, team_id: UUID) -> None:
    """Undo `suspend_from_rooms`."""
    returned: list[Room] = []
    for room, membership in _lock_memberships(member, team_id):
        membership.suspended = False
        membership.save(update_fields=["suspended"])
        set_room_role([member], room, membership.role)
        if member.is_active:
            _record_return(room, membership)
            returned.append(room)
    _pass_on(returned)


@transaction.atomic
@audit_last()
def leave_with_account(*, member: User) -> None:
    """Record the removal of a user whose account was deactivated from the rooms of all teams.

    The permissions are kept, and every check of a permission ignores them.
    """
    left: list[Room] = []
    for room, membership in _lock_memberships(member):
        if not membership.suspended:
            _record_removal(room, member)
            left.append(room)
    _pass_on(left)


@transaction.atomic
@audit_last()
def return_with_account(*, member: User) -> None:
    """Undo `leave_with_account`, and pass on the abandoned rooms of the user's teams.

    These teams may have been without an active owner, who inherits the open rooms.
    """
    teams = TeamMember.objects.active().filter(user=member).values("team")
    inherited = ownerless_rooms().filter(team__in=teams).values_list("pk", flat=True)
    own = RoomMember.objects.filter(user=member).values_list("room_id", flat=True)
    rooms = list(Room.objects.locked().filter(pk__in={*inherited, *own}).order_by("pk"))
    memberships = RoomMember.objects.filter(user=member, suspended=False).select_related("user")
    returned = {membership.room_id: membership for membership in memberships}
    for room in rooms:
        if room.pk in returned:
            _record_return(room, returned[room.pk])
    _pass_on(rooms)


def _pass_on(rooms: Collection[Room]) -> None:
    """Give these rooms owners, then ask the people who may decide there now."""
    pass_on_ownerless_rooms(rooms)
    for room in rooms:
        recheck_approvals(room)


def _record_removal(room: Room, member: User) -> None:
    record(room, MemberRemoved(member.pk))
    fail_unauthorized_runs(room, Q(requested_by=member.pk))
    recheck_questions(room)


def _record_return(room: Room, membership: RoomMember) -> None:
    record(room, MemberAdded(member_body(membership)))
    revive(room)


def _lock_memberships(user: User, team_id: UUID | None = None) -> Iterator[tuple[Room, RoomMember]]:
    """Lock the rooms of a user one by one; yield each with the membership, suspended or not.

    With `team_id`, only the rooms of this team.
    """
    memberships = RoomMember.objects.filter(user=user).order_by("room_id")
    if team_id is not None:
        memberships = memberships.filter(room__team=team_id)
    for room_id in list(memberships.values_list("room_id", flat=True)):
        room = Room.objects.locked().get(pk=room_id)
        member = room.members.select_related("user").filter(user=user).first()
        if member is not None:
            yield room, member
