"""New members of a team: invitations that name rooms, and the rooms that a new member comes into.

Everyone who joins a team, except guests, is added to its rooms `for_everyone`. Guests are added
only to the rooms that their invitation names.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import TypedDict, Unpack
from uuid import UUID

from django.db import transaction

from accounts.audit.log import audit, audit_last
from accounts.errors import MaruError, NotFound
from accounts.models import Invitation, TeamMember, TeamRole, User
from accounts.services import invite
from rooms.models import InvitedRoom, Room, RoomMember, RoomRole
from rooms.permissions import MANAGE, access_room, lock_room
from rooms.services.people.members import add_members


class InvitationOptions(TypedDict, total=False):
    """The optional arguments of `accounts.services.invite`."""

    role: str
    lifetime: timedelta
    max_uses: int
    email: str


@transaction.atomic
@audit_last()
def invite_into_rooms(
    *, user: User, team_id: UUID, room_ids: Collection[UUID], **options: Unpack[InvitationOptions]
) -> tuple[Invitation, str]:
    """Like `accounts.services.invite`; a user who accepts also becomes a member of these rooms.

    Raises NotFound or Forbidden for a room whose members `user` may not change.
    """
    named = list(dict.fromkeys(room_ids))
    rooms = {room_id: access_room(user, room_id, MANAGE) for room_id in named}
    if any(room.team_id != team_id for room in rooms.values()):
        raise NotFound
    invitation, token = invite(user=user, team_id=team_id, **options)
    for room_id in sorted(rooms):  # after `invite`, which locks the team
        lock_room(user, room_id, MANAGE)
    InvitedRoom.objects.bulk_create(InvitedRoom(invitation=invitation, room_id=r) for r in named)
    return invitation, token


@transaction.atomic
@audit_last()
def arrive(*, member: TeamMember, invitation: Invitation) -> None:
    """Add a user who has accepted an invitation to its rooms and to the rooms for everyone.

    Rooms that the author of the invitation may not manage any more are left out. One of the rooms
    gets the welcome: the oldest room for everyone, or else the first room that is named.
    """
    named = list(invitation.rooms.order_by("pk").values_list("room_id", flat=True))
    general = Room.objects.joined_on_arrival(member.team_id).order_by("created_at", "pk")
    if member.role == TeamRole.GUEST:
        general = general.none()
    preferred = list(dict.fromkeys([*general.values_list("pk", flat=True), *named]))
    joined = {}
    for room_id in sorted(preferred):  # rooms are locked in the order of their ids
        room = _lock_named(invitation, room_id) if room_id in named else None
        room = room or general.locked().filter(pk=room_id).first()
        if room is not None:
            (joined[room_id],) = add_members(room, [member.user], RoomRole.MEMBER)
            after = {"user": str(member.user_id), "role": RoomRole.MEMBER.value}
            audit(member.user, "room.member_added", room_id, team_id=room.team_id, after=after)
    first = next((joined[room_id] for room_id in preferred if room_id in joined), None)
    if first is not None:
        welcome(first)


def welcome(member: RoomMember) -> None:
    """Show the welcome to a new member in this room until `dismiss_welcome`."""
    member.welcome = True
    member.save(update_fields=["welcome"])


def landing_room(user: User, team_id: UUID) -> UUID | None:
    """Return the room of the team that a user comes to first; None without a room.

    This is the room with the welcome, else the oldest room for everyone, else the oldest room.
    """
    inside = RoomMember.objects.active().filter(user=user, room__team=team_id)
    usable = inside.filter(room__archived_at=None, room__deleted_at=None, room__direct=False)
    in_order = usable.order_by("-welcome", "-room__for_everyone", "room__created_at", "room_id")
    return in_order.values_list("room_id", flat=True).first()


def _lock_named(invitation: Invitation, room_id: UUID) -> Room | None:
    """Lock a room of an invitation; None if its author may not change the members any more."""
    try:
        return lock_room(invitation.invited_by, room_id, MANAGE)
    except MaruError:
        return None
