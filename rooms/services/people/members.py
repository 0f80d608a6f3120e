"""Adds, changes and removes the members of rooms, on the request of a user.

A room always has an active owner: a service that would remove the last one raises Conflict. See
`rooms.services.people.owners` for owners who lose their access to the team. A guest becomes an
owner only if an owner gives the guest this role, or if all other members are guests. The role gives
the guest no further access to the team.
"""

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from accounts.audit.log import audit
from accounts.errors import Conflict, Forbidden, NotFound
from accounts.models import Team, TeamMember, User
from accounts.roles import ROOM_ROLES
from rooms.event_log import record
from rooms.models import Room, RoomMember, RoomRole
from rooms.permissions import (
    MANAGE,
    POST,
    VIEW,
    access_open_room,
    access_room,
    lock_room,
    set_room_role,
)
from rooms.protocol.events import MemberAdded, MemberChanged, MemberRemoved
from rooms.protocol.serializers import member_body
from rooms.runs.ending import fail_unauthorized_runs
from rooms.runs.steps.open_approvals import recheck_approvals
from rooms.services.questions import recheck_questions


@transaction.atomic
def put_member(*, user: User, room_id: UUID, member_id: UUID, role: str) -> RoomMember:
    """Add a member of the room's team to the room, or change the role of a room member.

    Raises Conflict if the room would be left without an owner.
    """
    team_id = access_room(user, room_id, MANAGE).team_id
    users = lock_team_members(team_id, [member_id])
    room = lock_room(user, room_id, MANAGE)
    member = _member(room, member_id)
    if member is None:
        member = add_members(room, users, role)[0]
        recheck_approvals(room)
        after = {"user": str(member_id), "role": role}
        audit(user, "room.member_added", room.pk, team_id=room.team_id, after=after)
    elif member.role != role:
        _check_other_owner(room, member)
        before = {"user": str(member_id), "role": member.role}
        set_role(room, member, role)
        recheck_approvals(room)
        after = {"user": str(member_id), "role": role}
        audit(user, "room.member_changed", room.pk, team_id=team_id, before=before, after=after)
    return member


@transaction.atomic
def join_room(*, user: User, room_id: UUID, role: str = RoomRole.MEMBER) -> RoomMember:
    """Join a room that is open to its team, as a member or reader.

    A user who is in the room already keeps the current role.
    """
    team = access_open_room(user, room_id)
    if role not in (RoomRole.MEMBER, RoomRole.READER):
        raise Forbidden(_("You can join only as a member or a reader."), team_id=team.pk)
    users = lock_team_members(team.pk, [user.pk])
    room = Room.objects.locked().get(pk=room_id)
    access_open_room(user, room_id)  # check again under the lock, as `lock_room` does
    member = _member(room, user.pk)
    if member is None:
        member = add_members(room, users, role)[0]
        after = {"user": str(user.pk), "role": role}
        audit(user, "room.member_added", room.pk, team_id=room.team_id, after=after)
    return member


def joinable_rooms(user: User, team: Team) -> QuerySet[Room]:
    """Return the open rooms of the team that `user` is not in.

    The caller has checked that `user` may join rooms of the team.
    """
    mine = RoomMember.objects.filter(user=user)
    return Room.objects.open_to_team().filter(team=team).exclude(pk__in=mine.values("room"))


@transaction.atomic
def hand_over_room(*, user: User, room_id: UUID, member_id: UUID) -> None:
    """Make another member owner and `user` a member, in one transaction."""
    room = lock_room(user, room_id, MANAGE)
    successor = _member(room, member_id)
    own = _member(room, user.pk)
    if successor is None or own is None:
        raise NotFound
    if successor == own:
        raise Conflict(_("You already own this room."))
    set_role(room, successor, RoomRole.OWNER)
    set_role(room, own, RoomRole.MEMBER)
    recheck_approvals(room)
    after = {"owner": str(member_id)}
    audit(user, "room.handed_over", room.pk, team_id=room.team_id, after=after)


@transaction.atomic
def remove_member(*, user: User, room_id: UUID, member_id: UUID) -> None:
    """Remove a member from the room; any member may leave, except a direct room.

    Raises Conflict if the room would be left without an owner, and for a direct room.
    """
    needs = VIEW if member_id == user.pk else MANAGE
    room = lock_room(user, room_id, needs, even_archived=True)
    member = _member(room, member_id)
    if member is None:
        raise NotFound
    if room.direct:
        raise Conflict(_("You cannot leave a direct conversation. Mute it instead."))
    _check_other_owner(room, member)
    remove(room, member)
    recheck_approvals(room)
    before = {"user": str(member_id), "role": member.role}
    audit(user, "room.member_removed", room.pk, team_id=room.team_id, before=before)


@transaction.atomic
def publish_profile(user: User) -> None:
    """Record the current name and colour of a user in each room of the user."""
    memberships = RoomMember.objects.active().filter(user=user).order_by("room_id")
    for room_id in list(memberships.values_list("room_id", flat=True)):
        room = Room.objects.locked().get(pk=room_id)
        member = _member(room, user.pk)
        if member is not None:
            record(room, MemberChanged(member_body(member)))


def lock_team_members(team_id: UUID, user_ids: Sequence[UUID]) -> list[User]:
    """Lock active members of a team and return the users; raises NotFound for other users.

    The lock keeps the users in the team, and their accounts active, until the transaction ends. A
    removal and a deactivation lock the member before they read the rooms, so either they wait for
    this transaction, or this transaction sees their result. It is read after the lock, because
    PostgreSQL reads the account of a locked member as it was before the wait. Members are locked in
    one order, and before rooms and the audit log, as a removal does.
    """
    members = TeamMember.objects.filter(team=team_id, user__in=user_ids).order_by("pk")
    list(members.locked().values_list("pk"))
    users = {member.user_id: member.user for member in members.active().select_related("user")}
    try:
        return [users[user_id] for user_id in dict.fromkeys(user_ids)]
    except KeyError:
        raise NotFound from None


def add_members(room: Room, users: Sequence[User], role: str) -> list[RoomMember]:
    """Add users of the room's team to a room that the caller has locked, after its checks."""
    if not users:
        return []
    read = {"read_seq": room.last_seq, "read_count": room.message_count}
    members = RoomMember.objects.bulk_create(
        [RoomMember(room=room, user=user, role=role, **read) for user in users]
    )
    set_room_role(users, room, role)
    record(room, *(MemberAdded(member_body(member)) for member in members))
    return members


def _member(room: Room, user_id: UUID) -> RoomMember | None:
    return room.members.active().select_related("user").filter(user_id=user_id).first()


def set_role(room: Room, member: RoomMember, role: str) -> None:
    """Change the role of a member of a room that the caller has locked, after its checks.

    The caller then calls `recheck_approvals`, when all roles are set.
    """
    may_post = POST in ROOM_ROLES[member.role]
    member.role = role
    member.save(update_fields=["role"])
    set_room_role([member.user], room, role)
    record(room, MemberChanged(member_body(member)))
    if may_post and POST not in ROOM_ROLES[role]:
        fail_unauthorized_runs(room, Q(requested_by=member.user_id))
        recheck_questions(room)


def remove(room: Room, member: RoomMember) -> None:
    """Delete a membership of a room that the caller has locked, after its checks.

    The removal of a member without access has been recorded already. A direct room is no longer
    that of its set; see `rooms.services.direct`. The caller then calls `recheck_approvals`, when
    the room has an owner again.
    """
    member.delete()
    if room.direct_key is not None:
        room.direct_key = None
        room.save(update_fields=["direct_key"])
    set_room_role([member.user], room, None)
    if not member.suspended and member.user.is_active:
        record(room, MemberRemoved(member.user_id))
        fail_unauthorized_runs(room, Q(requested_by=member.user_id))
        recheck_questions(room)


def _check_other_owner(room: Room, member: RoomMember) -> None:
    owners = room.members.active().filter(role=RoomRole.OWNER).exclude(pk=member.pk)
    if member.role == RoomRole.OWNER and not owners.exists():
        raise Conflict(
            _("A room needs an owner. Make another member the owner first, or delete the room.")
        )
