"""Permission checks and rate limits of joins, for all joins that arrive at the same time."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from accounts import rate_limits
from accounts.errors import MaruError
from accounts.models import User
from rooms.permissions import RoomView, view_many
from rooms.socket.batches import Batches


class Join(NamedTuple):
    """A user who joins a room; `is_counted` if the join was counted against the rate limits."""

    user: User
    room_id: UUID
    is_counted: bool


class _JoinBatches(Batches[Join, RoomView | MaruError]):
    def resolve_many(self, requests: Sequence[Join]) -> Sequence[RoomView | MaruError]:
        return authorize_many(requests)


def authorize_many(joins: Sequence[Join]) -> list[RoomView | MaruError]:
    """Return the view of each user, or the error that refuses the join; one query in all."""
    views = view_many([(join.user, join.room_id) for join in joins])
    allowed = [
        (number, (join.user, join.room_id, view.team_id))
        for number, (join, view) in enumerate(zip(joins, views, strict=True))
        if isinstance(view, RoomView) and not join.is_counted
    ]
    errors = rate_limits.consume_many(rate_limits.JOIN, [use for _number, use in allowed])
    for (number, _use), error in zip(allowed, errors, strict=True):
        if error is not None:
            views[number] = error
    return views


_batches = _JoinBatches()


async def authorize(user: User, room_id: UUID, *, is_counted: bool = False) -> RoomView:
    """Return what the user may do in the room, as of its seq; the permission is never cached.

    Raises NotFound for users without access, RateLimited for too many joins.
    """
    view = await _batches.resolve(Join(user, room_id, is_counted))
    if isinstance(view, MaruError):
        raise view
    return view
