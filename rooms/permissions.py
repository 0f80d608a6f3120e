"""Checks permissions for rooms, messages and runs; every entry point uses this module."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import CharField, OuterRef, Q, QuerySet, Subquery, UUIDField
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _

from accounts.database.prepared_queries import Parameter, PreparedQuery
from accounts.errors import Forbidden, MaruError, NotFound
from accounts.mfa import check_mfa, mfa_enabled
from accounts.models import Team, User
from accounts.permissions import JOIN_ROOM, access_team_of, check_granted
from accounts.roles import ROOM_ROLES, set_permissions
from accounts.scopes import check_in_scope
from agents.permissions import EDIT, access_persona
from rooms.models import Message, Privacy, Room, RoomPermission, Round, Run, ToolCall

VIEW: Final = "view"
POST: Final = "post"
MODERATE: Final = "moderate"
MANAGE: Final = "manage"
MAX_LOOKED_BACK: Final = 100
"""A persona follows up in a thread if it has spoken in the newest replies, which are this many."""


class RoomView(NamedTuple):
    """The permissions of a user who may view a room, sorted, as of the room's `seq`."""

    team_id: UUID
    seq: int
    permissions: list[str]


@dataclass(frozen=True, slots=True)
class PostAccess:
    """What a user who may post in a room needs to know for one message.

    The author is read again because a connection has its user from the handshake, and users change
    their names. `earlier` is the message that was posted under the same `client_id`, `replied_to`
    the message that the new message replies to, `replied_to_persona` the persona that wrote it,
    `thread` the root of its thread, and `asked_last` the persona that was asked last there; each is
    None if there is none. The root of a reply to a message of the room is that message. A reply to
    a version of an answer that was replaced is one to the last version.
    """

    room: Room
    author: User
    earlier: UUID | None
    replied_to: UUID | None = None
    replied_to_persona: UUID | None = None
    thread: UUID | None = None
    asked_last: UUID | None = None


def access_room(user: User, room_id: UUID, permission: str, *, even_archived: bool = False) -> Room:
    """Return the room if `user` has the permission; always one query.

    Raises NotFound both for a room that does not exist and for a room that the user is not in;
    Forbidden if the user is in the room without the permission. Staff and superusers have no extra
    permissions. An archived room allows only VIEW, unless `even_archived` is set.
    """
    rows = _IN_ROOM(user=user.pk, room=room_id)
    return _judge(rows, user, permission, even_archived=even_archived)


def view_room(user: User, room_id: UUID) -> tuple[Room, list[str]]:
    """Return what `access_room` for VIEW and `permissions_in` return; one query."""
    rows = _IN_ROOM(user=user.pk, room=room_id)
    room = _judge(rows, user, VIEW)
    granted = {row.permission.codename for row in rows}
    return room, _usable(granted, is_archived=room.archived_at is not None)


def view_many(asked: Sequence[tuple[User, UUID]]) -> list[RoomView | MaruError]:
    """Check VIEW for many users and rooms; one query in all.

    Return for each the view, or the error that `access_room` would raise.
    """
    users: defaultdict[UUID, set[UUID]] = defaultdict(set)
    for user, room_id in asked:
        users[room_id].add(user.pk)
    of_rooms = (Q(content_object=room_id, user__in=ids) for room_id, ids in users.items())
    granted = RoomPermission.objects.filter(
        reduce(or_, of_rooms, Q(pk=None)),
        user__is_active=True,
        content_object__team__deleted_at=None,
    )
    rows: defaultdict[tuple[UUID, UUID], list[Any]] = defaultdict(list)  # Any: columns
    for row in granted.annotate(has_mfa=mfa_enabled(OuterRef("user"))).values_list(
        "user_id",
        "content_object_id",
        "permission__codename",
        "has_mfa",
        "content_object__last_seq",
        "content_object__archived_at",
        "content_object__team_id",
        "content_object__team__require_mfa",
    ):
        rows[row[0], row[1]].append(row[2:])
    return [_view(user, rows.get((user.pk, room_id), [])) for user, room_id in asked]


def lock_room(user: User, room_id: UUID, permission: str, *, even_archived: bool = False) -> Room:
    """Like `access_room`, and lock the room until the transaction ends.

    The permission is checked twice: in the query that takes the lock, so that a user without it
    cannot wait for the lock and block the room; and under the lock, because the user may have been
    removed while this transaction waited.
    """
    _lock(user, room_id, permission, even_archived=even_archived)
    return access_room(user, room_id, permission, even_archived=even_archived)


def lock_room_to_post(
    user: User, room_id: UUID, *, client_id: UUID | None, reply_to: UUID | None
) -> PostAccess:
    """Like `lock_room` for POST; return what `access_room_to_post` returns, read under the lock."""
    _lock(user, room_id, POST)
    return access_room_to_post(user, room_id, client_id=client_id, reply_to=reply_to)


def access_room_to_post(
    user: User, room_id: UUID, *, client_id: UUID | None, reply_to: UUID | None
) -> PostAccess:
    """Like `access_room` for POST; also return what the message needs, from the same query.

    Each later version of the message that it replies to takes another query.
    """
    of_post = {"user": user.pk, "room": room_id, "client_id": client_id}
    if reply_to is None:  # apart: this query takes a fraction of the time
        rows = _TO_POST(**of_post)
        return PostAccess(_judge(rows, user, POST), rows[0].user, rows[0].earlier)
    rows = _TO_REPLY(**of_post, reply_to=reply_to)
    room = _judge(rows, user, POST)
    row = rows[0]
    if row.later_version is not None:
        return access_room_to_post(user, room_id, client_id=client_id, reply_to=row.later_version)
    return PostAccess(
        *(room, row.user, row.earlier, row.replied_to, row.replied_to_persona),
        thread=row.thread,
        asked_last=row.asked_last,
    )


def access_message(user: User, message_id: UUID, permission: str) -> Message:
    """Return the message if `user` has the permission in its room.

    Raises NotFound or Forbidden. The permission query looks up the message, so that a message that
    does not exist costs as much as a message of another room.
    """
    room = _judge(_OF_MESSAGE(user=user.pk, message=message_id), user, permission)
    message = room.messages.filter(pk=message_id).first()
    if message is None:
        raise NotFound
    return message


def lock_message(user: User, message_id: UUID, permission: str) -> tuple[Room, Message]:
    """Check the permission, lock the room of a message and return both, read under the lock."""
    room_id = access_message(user, message_id, VIEW).room_id
    room = lock_room(user, room_id, permission)
    return room, room.messages.get(pk=message_id)


def access_run(user: User, run_id: UUID, permission: str) -> Run:
    """Return the run if `user` has the permission in its room; raises NotFound or Forbidden."""
    room = _judge(_OF_RUN(user=user.pk, run=run_id), user, permission)
    run = room.runs.filter(pk=run_id).first()
    if run is None:
        raise NotFound
    return run


def access_call(user: User, call_id: UUID, permission: str) -> ToolCall:
    """Return the tool call, with its run, if `user` has the permission in its room.

    Raises NotFound or Forbidden.
    """
    room = _judge(_OF_CALL(user=user.pk, call=call_id), user, permission)
    calls = ToolCall.objects.filter(pk=call_id, run__room=room).select_related("run", "decided_by")
    call = calls.first()
    if call is None:
        raise NotFound
    call.run.room = room
    return call


def access_round(user: User, round_id: UUID, permission: str) -> Round:
    """Return the round if `user` has the permission in its room; raises NotFound or Forbidden."""
    room = _judge(_OF_ROUND(user=user.pk, asked=round_id), user, permission)
    round_ = room.rounds.filter(pk=round_id).first()
    if round_ is None:
        raise NotFound
    return round_


def access_prompt(user: User, run_id: UUID) -> Run:
    """Return the run if `user` is in its room and may edit its persona; two queries.

    Raises NotFound for strangers, and Forbidden for other members.
    """
    run = access_run(user, run_id, VIEW)
    try:
        run.persona = access_persona(user, run.persona_id, EDIT)
    except NotFound:  # the user has no right on it, or it was deleted
        raise Forbidden(team_id=run.team_id) from None
    return run


def access_open_room(user: User, room_id: UUID) -> Team:
    """Return the team of an open room that `user` may join; one query.

    Raises NotFound for other rooms, and for guests, who must not learn that the room exists.
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
    """Return the permissions of the user in the room, sorted; empty if the user is not in it."""
    granted = {row.permission.codename for row in _IN_ROOM(user=user.pk, room=room.pk)}
    return _usable(granted, is_archived=room.archived_at is not None)


def users_with(permission: str, room: Room, users: Collection[UUID]) -> set[UUID]:
    """Return those of these users who have the permission in the room; one query.

    Equal to `access_room` for each user with full scope.
    """
    if not users or (room.archived_at and permission != VIEW):
        return set()
    return set(_USERS_WITH(permission=permission, room=room.pk, users=list(users)))


def set_room_role(users: Iterable[User], room: Room, role: str | None) -> None:
    """Replace the permissions of users in a room by a role's permissions; None removes them all.

    Called in the transaction that sets the role.
    """
    set_permissions(users, room, ROOM_ROLES[role] if role else frozenset())


def _granted(user: Parameter, **thing: Parameter) -> QuerySet[RoomPermission]:
    """Return the permissions of a user; `thing` is a lookup from RoomPermission to a room."""
    granted = RoomPermission.objects.filter(
        user_id=user, user__is_active=True, content_object__team__deleted_at=None, **thing
    )
    found: QuerySet[RoomPermission] = granted.select_related("content_object__team", "permission")
    return found.annotate(has_mfa=mfa_enabled(user))


def _to_post(user: Parameter, room: Parameter, client_id: Parameter) -> QuerySet[RoomPermission]:
    posted = Message.objects.filter(room=OuterRef("content_object"), user=user)
    earlier = posted.filter(client_id=client_id).order_by().values("pk")[:1]
    found = _granted(user, content_object=room).select_related("user")
    return found.annotate(earlier=Subquery(earlier))


def _to_reply(
    user: Parameter, room: Parameter, client_id: Parameter, reply_to: Parameter
) -> QuerySet[RoomPermission]:
    messages = Message.objects.filter(room=OuterRef("content_object")).order_by()
    replied_to = messages.filter(pk=reply_to)
    found = _to_post(user, room, client_id).annotate(
        replied_to=Subquery(replied_to.values("pk")[:1]),
        later_version=Subquery(replied_to.values("replaced_by")[:1], output_field=UUIDField()),
        # Without output_field, Django does not convert the bytes of SQLite to a UUID here.
        replied_to_persona=Subquery(replied_to.values("persona")[:1], output_field=UUIDField()),
        replied_to_thread=Subquery(replied_to.values("thread_root")[:1], output_field=UUIDField()),
    )
    thread = Coalesce("replied_to_thread", "replied_to", output_field=UUIDField())
    return found.annotate(thread=thread).annotate(asked_last=_asked_last())


def _asked_last() -> Coalesce:
    """Return the persona that was asked last in `thread`: it is answering, or has spoken last.

    The last MAX_LOOKED_BACK messages are read, so that a long talk of people costs no more. They
    are found by their root only: with the room, PostgreSQL may read all messages of the room.
    """
    room, root = OuterRef("content_object"), OuterRef("thread")
    asked = Run.objects.active().filter(thread=root, room=room).order_by("-queued_at")
    messages = Message.objects.current()
    newest = messages.filter(thread_root=OuterRef(root)).order_by("-seq")
    first = newest.values("seq")[MAX_LOOKED_BACK - 1 : MAX_LOOKED_BACK]
    within = messages.filter(thread_root=root, seq__gte=Coalesce(Subquery(first), 0))
    said = within.filter(persona__isnull=False)
    return Coalesce(
        Subquery(asked.values("persona")[:1], output_field=UUIDField()),
        Subquery(said.order_by("-seq").values("persona")[:1], output_field=UUIDField()),
    )


def _users_with(
    permission: Parameter, room: Parameter, users: list[Parameter]
) -> QuerySet[RoomPermission, UUID]:
    has_mfa = Q(content_object__team__require_mfa=False) | Q(mfa_enabled(OuterRef("user")))
    granted = RoomPermission.objects.filter(
        has_mfa,
        content_object=room,
        content_object__team__deleted_at=None,
        permission__codename=permission,
        user__pk__in=users,
        user__is_active=True,
    )
    return granted.values_list("user", flat=True)


_ID: Final = UUIDField()
_IN_ROOM: Final = PreparedQuery(
    lambda user, room: _granted(user, content_object=room), user=_ID, room=_ID
)
_LOCKING: Final = PreparedQuery(
    lambda user, room: _granted(user, content_object=room).select_for_update(
        of=("content_object",), no_key=True
    ),
    user=_ID,
    room=_ID,
)
_OF_MESSAGE: Final = PreparedQuery(
    lambda user, message: _granted(user, content_object__messages=message), user=_ID, message=_ID
)
_OF_RUN: Final = PreparedQuery(
    lambda user, run: _granted(user, content_object__runs=run), user=_ID, run=_ID
)
_OF_CALL: Final = PreparedQuery(
    lambda user, call: _granted(user, content_object__runs__calls=call), user=_ID, call=_ID
)
_OF_ROUND: Final = PreparedQuery(
    lambda user, asked: _granted(user, content_object__rounds=asked), user=_ID, asked=_ID
)
_CLIENT_ID: Final = UUIDField(null=True)
_TO_POST: Final = PreparedQuery[Any](_to_post, user=_ID, room=_ID, client_id=_CLIENT_ID)
_TO_REPLY: Final = PreparedQuery[Any](  # Any: rows have annotations
    _to_reply, user=_ID, room=_ID, client_id=_CLIENT_ID, reply_to=_ID
)
_USERS_WITH: Final = PreparedQuery(_users_with, permission=CharField(), room=_ID, users=[_ID])


def _lock(user: User, room_id: UUID, permission: str, *, even_archived: bool = False) -> None:
    if connection.features.has_select_for_update:  # SQLite locks the database at BEGIN
        rows = _LOCKING(user=user.pk, room=room_id)
        _judge(rows, user, permission, even_archived=even_archived)


def _usable(names: Iterable[str], *, is_archived: bool) -> list[str]:
    return sorted(set(names) - {POST, MODERATE} if is_archived else set(names))


def _view(user: User, rows: Sequence[Any]) -> RoomView | MaruError:
    """Judge the rows of `view_many` for one user and room as `_judge` does for VIEW."""
    if not rows:
        return NotFound()
    names = [row[0] for row in rows]
    _name, has_mfa, seq, archived_at, team_id, require_mfa = rows[0]
    try:
        check_in_scope(user.scope, team_id, VIEW)
        check_mfa(Team(pk=team_id, require_mfa=require_mfa), has_mfa=has_mfa)
    except MaruError as error:
        return error
    if VIEW not in names:
        return Forbidden(team_id=team_id)
    return RoomView(team_id, seq, _usable(names, is_archived=archived_at is not None))


def _judge(
    rows: list[Any],  # Any: rows have the annotation `has_mfa`
    user: User,
    permission: str,
    *,
    even_archived: bool = False,
) -> Room:
    if not rows:
        raise NotFound
    room: Room = rows[0].content_object
    check_granted(rows, user, room.team, permission)
    if room.archived_at and permission != VIEW and not even_archived:
        detail = _("This room is archived. You can read it, but not write in it.")
        raise Forbidden(detail, team_id=room.team_id)
    return room
