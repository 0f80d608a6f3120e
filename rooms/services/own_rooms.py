"""What a member sets for a room in the member's own sidebar: other members do not see it."""

from uuid import UUID

from django.db import transaction

from accounts.errors import NotFound
from accounts.models import User
from rooms.models import RoomMember
from rooms.permissions import VIEW, access_room


@transaction.atomic
def place_room(
    *, user: User, room_id: UUID, muted: bool | None = None, favourite: bool | None = None
) -> RoomMember:
    """Mute the room or make it a favourite of `user`; None keeps the value. Return the membership.

    Not an event of the room, because its log and its snapshots are shared by all members.
    """
    room = access_room(user, room_id, VIEW)
    changes = {"muted": muted, "favourite": favourite}
    chosen = {name: value for name, value in changes.items() if value is not None}
    members = RoomMember.objects.filter(room=room, user=user)
    members.update(**chosen)
    member = members.first()
    if member is None:  # removed since `access_room`
        raise NotFound
    return member


@transaction.atomic
def dismiss_welcome(*, user: User, room_id: UUID) -> None:
    """Remove the welcome of `user` from the room."""
    room = access_room(user, room_id, VIEW)
    RoomMember.objects.filter(room=room, user=user).update(welcome=False)
