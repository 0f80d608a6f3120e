"""What people have not read: for the list of rooms, and for sockets that are elsewhere."""

from collections.abc import Collection
from uuid import UUID

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, Concat
from msgspec import Struct

from accounts.mfa import with_mfa
from rooms.models import Message, RoomMember


class Unread(Struct, frozen=True):
    """What a member has not read of a room."""

    user: UUID
    room: UUID
    team: UUID
    seq: int
    messages: int
    mentions: int


def unread(rooms: Collection[UUID], users: Collection[UUID]) -> list[Unread]:
    """Return what those of `users` who are members of `rooms` have not read there; one query."""
    new = (
        Message.objects.filter(room=OuterRef("room"), seq__gt=OuterRef("read_seq"), deleted_at=None)
        .exclude(user=OuterRef("user"))
        .order_by()
    )
    handle = Concat(Value('data-handle="'), OuterRef("user__handle"), Value('"'))
    may = Q(room__team__require_mfa=False) | Q(with_mfa(OuterRef("user")))
    members = RoomMember.objects.filter(may, room__in=rooms, user__in=users).values_list(
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
