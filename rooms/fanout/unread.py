"""Unread counts, for the list of rooms and for `room.activity`; and who is mentioned.

The messages that a member has not read are `room.message_count - read_count`, without the deleted
ones: no message is read to count them. The author of a message has read it. A mention is a row.
Replies that only a thread shows are not counted: the followers of a thread have a read position,
which is also that of the mentions in the thread.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final
from uuid import UUID

from django.db import connection
from django.db.models import (
    BigIntegerField,
    Case,
    Count,
    F,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce
from msgspec import Struct

from accounts.mfa import mfa_enabled
from rooms.markup.mentions import CHIP_OPEN
from rooms.models import Mention, Message, Room, RoomMember, ThreadFollower

COUNT_LIMIT: Final = 1_000


class Unread(Struct, frozen=True):
    """The number of unread messages of a member in a room, and of those with a mention.

    `threads` is the number of followed threads with unread replies. Each is at most COUNT_LIMIT.
    """

    user: UUID
    room: UUID
    team: UUID
    seq: int
    messages: int
    mentions: int
    threads: int


def at_most(count: int) -> int:
    """Return `count`, limited to what clients get."""
    return max(0, min(count, COUNT_LIMIT))


def _count(rows: QuerySet[Any]) -> Coalesce:
    after = rows.filter(room=OuterRef("room"), seq__gt=OuterRef("read_seq")).order_by()
    return Coalesce(Subquery(after.values("room").annotate(count=Count("pk")).values("count")), 0)


# Counted only if the member has not read the room up to its last deleted message.
_DELETED: Final = Case(
    When(
        read_seq__lt=F("room__deleted_seq"),
        then=_count(Message.objects.of_room().filter(deleted_at__isnull=False)),
    ),
    default=Value(0),
    output_field=BigIntegerField(),
)

_UNREAD_THREADS: Final = ThreadFollower.objects.filter(
    room=OuterRef("room"), user=OuterRef("user"), is_unread=True
).order_by()


def _count_of_threads(rows: QuerySet[Any]) -> Coalesce:
    counted = rows.values("user").annotate(count=Count("pk")).values("count")
    return Coalesce(Subquery(counted), 0)


MESSAGES: Final = F("room__message_count") - F("read_count") - _DELETED
"""Expressions over a RoomMember: its unread messages, and those with a mention. See `at_most`."""
MENTIONS: Final = _count(Mention.objects.filter(user=OuterRef("user"), thread=None))
MENTIONS_IN_THREADS: Final = _count_of_threads(
    _UNREAD_THREADS.filter(
        root__mentions_inside__user=F("user"), root__mentions_inside__seq__gt=F("read_seq")
    )
)
_THREADS: Final = _count_of_threads(_UNREAD_THREADS.filter(following=True))


# The lists are parameters of one type each, so the text of the query is always the same and Django
# compiles its own part once: a list of 1,000 ids in an `IN` costs more to compile than to answer.
# Rows refer to the lists by position, because a UUID of a result costs 2 µs.
_MEMBERS_OF: Final = """
    SELECT room.place, person.place, {team}, last_seq, messages, mentions, threads
    FROM ({inside}) AS member
    JOIN {rooms} ON room.id = member.room_id JOIN {users} ON person.id = member.user_id
"""
_MEMBERS: Final = """
    SELECT pair.place, pair.place, {team}, last_seq, messages, mentions, threads
    FROM ({inside}) AS member
    JOIN {pairs} ON pair.room_id = member.room_id AND pair.user_id = member.user_id
"""
_LISTS: Final = {
    "postgresql": {
        "team": "CAST(member.team_id AS text)",
        "rooms": "unnest(%s::uuid[]) WITH ORDINALITY AS room (id, place)",
        "users": "unnest(%s::uuid[]) WITH ORDINALITY AS person (id, place)",
        "pairs": "unnest(%s::uuid[], %s::uuid[]) WITH ORDINALITY AS pair (room_id, user_id, place)",
    },
    "sqlite": {
        "team": "member.team_id",
        "rooms": "(SELECT value AS id, key + 1 AS place FROM json_each(%s)) AS room",
        "users": "(SELECT value AS id, key + 1 AS place FROM json_each(%s)) AS person",
        "pairs": """(SELECT rooms.value AS room_id, users.value AS user_id, rooms.key + 1 AS place
            FROM json_each(%s) AS rooms JOIN json_each(%s) AS users ON rooms.key = users.key
        ) AS pair""",
    },
}


def count_unread(rooms: Collection[UUID], users: Collection[UUID]) -> list[Unread]:
    """Return the unread counts of all `users` that are members of `rooms`, in one query."""
    return _counts(_MEMBERS_OF, list(rooms), list(users))


def count_unread_of(pairs: Iterable[tuple[UUID, UUID]]) -> list[Unread]:
    """Return the unread counts of members, given as pairs of a room and a user, in one query."""
    found = list(pairs)
    return _counts(_MEMBERS, [room for room, _ in found], [user for _, user in found])


def _counts(text: str, rooms: Sequence[UUID], users: Sequence[UUID]) -> list[Unread]:
    if not rooms or not users:
        return []
    lists: Sequence[Any] = [rooms, users]
    if connection.vendor == "sqlite":
        lists = [json.dumps([each.hex for each in ids]) for ids in lists]
    teams: dict[str, UUID] = {}
    found = []
    with connection.cursor() as cursor:
        sql, parameters = _compiled(text, connection.vendor)
        cursor.execute(sql, [*parameters, *lists])
        for room, user, team_id, seq, messages, mentions, unread_threads in cursor.fetchall():
            team = teams.get(team_id) or teams.setdefault(team_id, UUID(team_id))
            found.append(
                Unread(
                    *(users[user - 1], rooms[room - 1], team, seq),
                    messages=at_most(messages),
                    mentions=at_most(mentions),
                    threads=at_most(unread_threads),
                )
            )
    return found


@cache
def _compiled(text: str, vendor: str) -> tuple[str, tuple[Any, ...]]:
    """Return the SQL for the current members among the listed ones, and its first parameters."""
    may = Q(room__team__require_mfa=False) | Q(mfa_enabled(OuterRef("user")))
    members = RoomMember.objects.active().filter(may, room__team__deleted_at=None)
    inside = members.values(
        "room_id",
        "user_id",
        team_id=F("room__team_id"),
        last_seq=F("room__last_seq"),
        messages=MESSAGES,
        mentions=MENTIONS + MENTIONS_IN_THREADS,
        threads=_THREADS,
    )
    sql, parameters = inside.query.sql_with_params()
    return text.format(inside=sql, **_LISTS[vendor]), tuple(parameters)


def messages_up_to(room: Room, seq: int) -> int:
    """Return the `read_count` of a member whose read position in the room is `seq`.

    At most twice COUNT_LIMIT messages after `seq` are counted, because a client can send any `seq`.
    """
    if seq >= room.last_seq:
        return room.message_count
    after = room.messages.of_room().filter(seq__gt=seq, seq__lte=room.last_seq).order_by()
    return room.message_count - len(after.values_list("seq")[: 2 * COUNT_LIMIT])


def add_mentions(
    message: Message, mentioned: Collection[str], handles: Callable[[], Mapping[str, UUID | None]]
) -> set[UUID]:
    """Record which members a message mentions, and return them.

    `handles` are those of its room. The author is left out.
    """
    if not mentioned:
        return set()
    known = handles()
    found = {known.get(handle) for handle in mentioned} - {message.user_id}
    users = {user_id for user_id in found if user_id is not None}
    thread = None if message.in_room else message.thread_root_id
    place: dict[str, Any] = {"room_id": message.room_id, "thread_id": thread, "seq": message.seq}
    Mention.objects.bulk_create(
        [Mention(user_id=user_id, message=message, **place) for user_id in users],
        ignore_conflicts=True,  # an answer whose text is restored has the mentions of its start
    )
    return users


def remove_mentions(message: Message) -> None:
    """Forget whom a message mentions; called before its text changes."""
    if CHIP_OPEN in message.html:
        Mention.objects.filter(message=message).delete()
