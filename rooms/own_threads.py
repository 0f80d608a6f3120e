"""Reads of threads as one user sees them: followed or not, and with the unread replies."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _
from msgspec import structs

from accounts.errors import Invalid
from accounts.models import Team, User
from rooms import replies
from rooms.fanout.unread import at_most
from rooms.models import Message, Room, ThreadFollower
from rooms.protocol.payloads import MessageBody, ThreadBody
from rooms.queries import bodies

_UNREAD: Final = (
    Message.objects.current()
    .filter(thread_root=OuterRef("root"), seq__gt=OuterRef("read_seq"), deleted_at=None)
    .order_by()
    .values("thread_root")
    .annotate(count=Count("pk"))
    .values("count")
)


def unread_replies(user: User, roots: Collection[UUID]) -> dict[UUID, int]:
    """Return the unread replies of those of the threads that `user` follows."""
    rows = ThreadFollower.objects.filter(user=user, following=True, root__in=roots)
    found = rows.annotate(unread=Coalesce(Subquery(_UNREAD), 0)).values_list("root", "unread")
    return {root: at_most(unread) for root, unread in found}


def unread_mentions(user: User, room: Room) -> dict[UUID, int]:
    """Return, by root, the unread messages that mention `user` and that only a thread shows."""
    unread = ThreadFollower.objects.filter(
        user=user,
        room=room,
        is_unread=True,
        root__mentions_inside__user=user,
        root__mentions_inside__seq__gt=F("read_seq"),
    )
    return dict(unread.values("root").annotate(count=Count("pk")).values_list("root", "count"))


def with_unread_of(user: User, messages: Sequence[MessageBody]) -> list[MessageBody]:
    """Return messages with the unread replies of the threads that `user` follows.

    One query if any message has replies.
    """
    unread = unread_replies(user, [each.id for each in messages if each.replies])
    return [
        structs.replace(each, replies=structs.replace(each.replies, unread=unread[each.id]))
        if each.replies and each.id in unread
        else each
        for each in messages
    ]


def followed_threads(user: User, team: Team) -> QuerySet[Any]:  # Any: rows are annotated
    """Return the threads of a team that `user` follows and may read, for `page_of_threads`."""
    rooms = Room.objects.visible_to(user).filter(team=team)
    rows = ThreadFollower.objects.filter(user=user, following=True, room__in=rooms.values("pk"))
    return rows.exclude(root__deleted_at__isnull=False, root__reply_count=0).annotate(
        at=Coalesce("root__last_reply_at", "root__created_at")
    )


def page_of_threads(
    rows: QuerySet[Any], *, limit: int, cursor: str | None = None
) -> tuple[list[ThreadBody], str | None]:
    """Return a page of `followed_threads`, and the cursor of the next page, None for the last.

    Unread threads come first, then those with the last reply. Raises Invalid for a cursor that is
    not of such a page.
    """
    if cursor is not None:
        unread, at, key = _parse_cursor(cursor)
        before = Q(at__lt=at) | Q(at=at, pk__lt=key)
        rows = rows.filter(Q(is_unread__lt=unread) | Q(before, is_unread=unread))
    ordered: QuerySet[Any] = rows.order_by("-is_unread", "-at", "-pk").select_related("root")
    found = list(ordered.annotate(unread=Coalesce(Subquery(_UNREAD), 0))[: limit + 1])
    shown = found[:limit]
    roots = bodies([row.root for row in shown])
    items = [
        ThreadBody(message=root, following=True, read_seq=row.read_seq, unread=at_most(row.unread))
        for row, root in zip(shown, roots, strict=True)
    ]
    last = shown[-1] if len(found) > limit else None
    return items, (last and f"{last.is_unread:d}_{last.at.timestamp()!r}_{last.pk}")


def _parse_cursor(cursor: str) -> tuple[bool, datetime, int]:
    """Return the values of the last row of a page; raises Invalid."""
    try:
        unread, at, key = cursor.split("_")
        return bool(int(unread)), datetime.fromtimestamp(float(at), UTC), int(key)
    except (ValueError, OverflowError, OSError):
        sentence = _("This cursor is not valid for this list. Start again without a cursor.")
        raise Invalid(fields={"cursor": sentence}) from None


def thread_of(user: User, message: Message) -> ThreadBody:
    """Return the thread of a message; without a row of the user it is not followed, and read."""
    root = replies.root_of(message)
    rows: QuerySet[Any] = ThreadFollower.objects.filter(root=root, user=user)
    row = rows.annotate(unread=Coalesce(Subquery(_UNREAD), 0)).first()
    (body,) = bodies([root])
    return ThreadBody(
        message=body,
        following=row is not None and row.following,
        read_seq=row.read_seq if row else root.last_reply_seq or root.seq,
        unread=at_most(row.unread) if row and row.following else 0,
    )
