"""The gates of rooms, and of the messages and runs in them: asked by every way in."""

from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet, Subquery
from django.utils.translation import gettext as _

from accounts.errors import Forbidden, NotFound
from accounts.mfa import check_mfa, mfa_enabled
from accounts.models import Team, User
from accounts.permissions import JOIN_ROOM, access_team_of
from accounts.roles import ROOM_ROLES, set_permissions
from accounts.scopes import check_in_scope
from rooms.models import Message, Privacy, Room, RoomPermission, Run

VIEW: Final = "view"
POST: Final = "post"
MODERATE: Final = "moderate"
MANAGE: Final = "manage"


def access_room(user: User, room_id: UUID, permission: str, *, even_archived: bool = False) -> Room:
    """Return the room if `user` may do this to it; one query, whatever the answer.

    Raises NotFound where there is no such room or the user is not in it, alike; Forbidden where
    they are in it without this right. Staff and superusers get nothing extra. An archived room may
    be seen, and nothing else be done to it but by those who say `even_archived`.
    """
    return _judge(
        _granted(user, content_object=room_id), user, permission, even_archived=even_archived
    )


def lock_room(user: User, room_id: UUID, permission: str, *, even_archived: bool = False) -> Room:
    """Like `access_room`, and nothing else changes the room until the transaction ends.

    The gate is asked while it takes the lock, so that strangers can hold up no room by waiting for
    it, and again behind it: whoever was removed while we waited is out.

    `no_key`, wherever a room is locked: rows that point at it are written by others meanwhile, who
    may hold the lock of an audit for which we shall wait.
    """
    _lock(user, room_id, permission, even_archived=even_archived)
    return access_room(user, room_id, permission, even_archived=even_archived)


def lock_to_write(
    user: User, room_id: UUID, **known: Subquery
) -> tuple[Room, User, dict[str, UUID | None]]:
    """Like `lock_room`, for writing; with the user as they are called now, and what is `known`.

    All in the one query behind the lock. A socket has its user from the handshake, and people
    change their names. `known` names what else must be looked up, in a room that is the outer
    query's `content_object`.
    """
    _lock(user, room_id, POST)
    granted = _granted(user, content_object=room_id).select_related("user").annotate(**known)
    room = _judge(granted, user, POST)
    row = granted[0]
    return room, row.user, {name: getattr(row, name) for name in known}


def access_message(user: User, message_id: UUID, permission: str) -> Message:
    """Return the message if `user` may do this in its room; NotFound or Forbidden if not.

    The gate looks for the message itself: one that is not there costs what a foreign one does.
    """
    room = _judge(_granted(user, content_object__messages=message_id), user, permission)
    message = room.messages.filter(pk=message_id).first()
    if message is None:
        raise NotFound
    return message


def access_run(user: User, run_id: UUID, permission: str) -> Run:
    """Return the run if `user` may do this in its room; NotFound or Forbidden if not."""
    room = _judge(_granted(user, content_object__runs=run_id), user, permission)
    run = room.runs.filter(pk=run_id).first()
    if run is None:
        raise NotFound
    return run


def access_open_room(user: User, room_id: UUID) -> Team:
    """Return the team if `user` may join the room without being asked; NotFound if not, one query.

    Guests do not even see that it is there.
    """
    try:
        return access_team_of(
            user,
            JOIN_ROOM,
            content_object__rooms=room_id,
            content_object__rooms__privacy=Privacy.TEAM,
            content_object__rooms__archived_at=None,
            content_object__rooms__deleted_at=None,
        )
    except Forbidden:
        raise NotFound from None


def permissions_in(user: User, room: Room) -> list[str]:
    """Return what the user may do in the room, in alphabetical order; empty for strangers."""
    granted = set(
        _granted(user, content_object=room.pk).values_list("permission__codename", flat=True)
    )
    return sorted(granted - {POST, MODERATE} if room.archived_at else granted)


def set_room_role(users: Iterable[User], room: Room, role: str | None) -> None:
    """Turn a role into permissions, in the transaction that sets it; None takes them all."""
    set_permissions(users, room, ROOM_ROLES[role] if role else frozenset())


def _granted(user: User, **thing: UUID) -> QuerySet[RoomPermission]:
    """`thing` names a room, or something in it, by how the permission leads to it."""
    granted = RoomPermission.objects.filter(
        user_id=user.pk, user__is_active=True, content_object__team__deleted_at=None, **thing
    )
    found: QuerySet[RoomPermission] = granted.select_related("content_object__team", "permission")
    return found.annotate(has_mfa=mfa_enabled(user.pk))


def _lock(user: User, room_id: UUID, permission: str, *, even_archived: bool = False) -> None:
    if connection.features.has_select_for_update:  # SQLite's transactions begin with a lock
        granted = _granted(user, content_object=room_id)
        locking = granted.select_for_update(of=("content_object",), no_key=True)
        _judge(locking, user, permission, even_archived=even_archived)


def _judge(
    granted: QuerySet[RoomPermission], user: User, permission: str, *, even_archived: bool = False
) -> Room:
    rows: list[Any] = list(granted)  # Any: rows have the annotation `has_mfa`
    if not rows:
        raise NotFound
    room: Room = rows[0].content_object
    check_in_scope(user.scope, room.team_id, permission)
    check_mfa(room.team, has_mfa=rows[0].has_mfa)
    if not any(row.permission.codename == permission for row in rows):
        raise Forbidden(team_id=room.team_id)
    if room.archived_at and permission != VIEW and not even_archived:
        detail = _("This room is archived. It can be read, and nothing be written in it.")
        raise Forbidden(detail, team_id=room.team_id)
    return room
