"""The gate of rooms: one question in one place, asked by pages, REST, sockets and services."""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from accounts.errors import Forbidden, NotFound
from accounts.mfa import check_mfa
from accounts.models import User
from accounts.permissions import ROOM_ROLES, set_permissions
from accounts.reach import check_reach
from rooms.models import Message, Room, RoomPermission, Run

VIEW: Final = "view"
POST: Final = "post"
MODERATE: Final = "moderate"
MANAGE: Final = "manage"


def access_room(user: User, room_id: UUID, permission: str) -> Room:
    """Return the room if `user` may do this to it; one query, whatever the answer.

    Raises NotFound where there is no such room or the user is not in it, alike; Forbidden where
    they are in it without this right. Staff and superusers get nothing extra.
    """
    return _judge(_granted(user, room_id), user, permission)


def access_message(user: User, message_id: UUID, permission: str) -> Message:
    """Return a message if `user` may do this in its room; two queries, whatever the answer."""
    message = Message.objects.filter(pk=message_id).first()
    # No room has this id: a message that is not there is as absent as a foreign one.
    access_room(user, message.room_id if message else message_id, permission)
    if message is None:
        raise NotFound
    return message


def access_run(user: User, run_id: UUID, permission: str) -> Run:
    """Return a run if `user` may do this in its room; two queries, whatever the answer."""
    run = Run.objects.filter(pk=run_id).first()
    access_room(user, run.room_id if run else run_id, permission)
    if run is None:
        raise NotFound
    return run


def lock_room(user: User, room_id: UUID, permission: str) -> Room:
    """Like `access_room`, and nothing else changes the room until the transaction ends.

    The gate is asked while it takes the lock, so that strangers can hold up no room by waiting for
    it, and again behind it: whoever was removed while we waited is out.
    """
    if connection.features.has_select_for_update:  # SQLite's transactions begin with a lock
        locking = _granted(user, room_id).select_for_update(of=("content_object",))
        _judge(locking, user, permission)
    return access_room(user, room_id, permission)


def _granted(user: User, room_id: UUID) -> QuerySet[RoomPermission]:
    return RoomPermission.objects.filter(
        content_object_id=room_id, user_id=user.pk, user__is_active=True
    ).select_related("content_object__team", "permission")


def _judge(granted: QuerySet[RoomPermission], user: User, permission: str) -> Room:
    rows = list(granted)
    if not rows:
        raise NotFound
    room: Room = rows[0].content_object
    check_reach(user, room.team_id, permission)
    check_mfa(user, room.team)
    if not any(row.permission.codename == permission for row in rows):
        raise Forbidden(team_id=room.team_id)
    return room


def permissions_in(user: User, room: Room) -> list[str]:
    """Return what the user may do in the room, in alphabetical order; empty for strangers."""
    granted = RoomPermission.objects.filter(
        content_object=room, user_id=user.pk, user__is_active=True
    )
    return sorted(granted.values_list("permission__codename", flat=True))


def set_room_role(users: Iterable[User], room: Room, role: str | None) -> None:
    """Turn a role into permissions, in the transaction that sets it; None takes them all."""
    set_permissions(users, room, ROOM_ROLES[role] if role else frozenset())
