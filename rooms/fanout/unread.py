"""Unread counts, for the list of rooms and for `room.activity`."""

from collections.abc import Collection, Iterable
from typing import Final
from uuid import UUID

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, Concat, Greatest
from msgspec import Struct

from accounts.mfa import mfa_enabled
from rooms.markup.mentions import CHIP_OPEN
from rooms.models import Message, RoomMember

COUNT_LIMIT: Final = 1_000


class Unread(Struct, frozen=True):
    """The number of unread messages of a member in a room, and of those with a mention."""

    user: UUID
    room: UUID
    team: UUID
    seq: int
    messages: int
    mentions: int


def count_unread(rooms: Collection[UUID], users: Collection[UUID]) -> list[Unread]:
    """Return the unread counts of all `users` that are members of `rooms`, in one query."""
    return count_unread_of([(rooms, users)])


def count_unread_of(wanted: Iterable[tuple[Collection[UUID], Collection[UUID]]]) -> list[Unread]:
    """Return the unread counts for each of these pairs of rooms and users, in one query.

    At most the newest COUNT_LIMIT events of each log are counted. The query runs often, and its
    cost must not grow with the number of unread messages.
    """
    oldest = Greatest(OuterRef("read_seq"), OuterRef("room__last_seq") - COUNT_LIMIT)
    new = (
        Message.objects.filter(room=OuterRef("room"), seq__gt=oldest, deleted_at=None)
        .exclude(user=OuterRef("user"))
        .order_by()
    )
    # With the tag, which the text of a message cannot contain.
    handle = Concat(Value(f'{CHIP_OPEN}"'), OuterRef("user__handle"), Value('"'))
    may = Q(room__team__require_mfa=False) | Q(mfa_enabled(OuterRef("user")))
    inside = RoomMember.objects.active().filter(may, room__team__deleted_at=None)
    selected = Q()
    for rooms, users in wanted:
        if rooms and users:
            selected |= Q(room__in=rooms, user__in=users)
    if not selected:
        return []
    members = inside.filter(selected).values_list(
        "user_id",
        "room_id",
        "room__team_id",
        "room__last_seq",
        _count(new),
        _count(new.filter(html__contains=handle)),
    )
    return [Unread(*row) for row in members]


def _count(messages: QuerySet[Message]) -> Coalesce:
    counted = messages.values("room").annotate(count=Count("pk")).values("count")
    return Coalesce(Subquery(counted), 0)
