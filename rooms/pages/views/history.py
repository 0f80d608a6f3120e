"""A part of a room's messages as data, for a page that scrolls or jumps in its history."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from accounts.errors import Invalid, NotFound
from accounts.models import User
from accounts.permissions import require_user
from rooms import queries
from rooms.models import AuthorKind, Room
from rooms.own_threads import unread_replies
from rooms.pages.timeline import ended_runs
from rooms.permissions import VIEW, access_room
from rooms.protocol.payloads import MessageBody
from rooms.protocol.serializers import member_body

MAX_SEQ = 2**53


class History(NamedTuple):
    """A part of a room's messages, oldest first, and whether there may be others on either side."""

    messages: list[MessageBody]
    earlier: bool
    later: bool


def messages_before(room: Room, seq: int) -> History:
    """Return the last messages before a seq, like `queries.newest_messages`."""
    messages, complete = queries.newest_messages(room, seq)
    return History(messages, earlier=not complete, later=True)


def messages_after(room: Room, seq: int) -> History:
    """Return the first messages after a seq: at most PAGE messages of MAX_BYTES."""
    found = list(room.messages.of_room().filter(seq__gt=seq).order_by("seq")[: queries.PAGE + 1])
    shown = queries.within_bytes(found[: queries.PAGE])
    return History(queries.bodies(shown), earlier=True, later=len(shown) < len(found))


def messages_beside(room: Room, seq: int) -> History:
    """Return up to BESIDE messages before a seq and up to BESIDE + 1 messages from it on."""
    before = list(
        room.messages.of_room().filter(seq__lt=seq).order_by("-seq")[: queries.BESIDE + 1]
    )
    after = list(room.messages.of_room().filter(seq__gte=seq).order_by("seq")[: queries.BESIDE + 2])
    shown_before = queries.within_bytes(before[: queries.BESIDE])
    shown_after = queries.within_bytes(after[: queries.BESIDE + 1])
    return History(
        queries.bodies([*shown_before[::-1], *shown_after]),
        earlier=len(shown_before) < len(before),
        later=len(shown_after) < len(after),
    )


def seq_at(room: Room, moment: datetime) -> int:
    """Return the seq of the first message of that moment or later; `last_seq + 1` without one.

    Messages are in the order of their times, but no index has the times: the search halves the
    seqs, and each step reads one row of the index (room, seq).
    """
    low, high = 0, room.last_seq + 1
    times = room.messages.of_room().order_by("seq").values_list("seq", "created_at")
    while low < high:
        middle = (low + high) // 2
        found = times.filter(seq__gte=middle).first()
        if found is None or found[1] >= moment:
            high = middle
        else:
            low = found[0] + 1
    return low


def _history(user: User, room: Room, place: Mapping[str, str]) -> dict[str, Any]:
    """Return the part at a place, as `history.loaded` in `room_state.js` reads it.

    The first value of `place` that is not empty counts: `before` or `after` a seq continue what the
    page has; `at` a seq, `around` a message and `on` a time are elsewhere. `seq` is that of the
    room before the messages were read: the page applies later events again. Raises Invalid for
    another value, and NotFound for a message that is not in the room.
    """
    found = _find(room, place)
    authors = [m.author.id for m in found.messages if m.author.kind == AuthorKind.USER]
    members = room.members.active().filter(user__in=authors).select_related("user")
    unread = unread_replies(user, [m.id for m in found.messages if m.replies])
    return {
        "seq": room.last_seq,
        "messages": msgspec.to_builtins(found.messages),
        "earlier": found.earlier,
        "later": found.later,
        "runs": msgspec.to_builtins(ended_runs(found.messages)),
        "members": msgspec.to_builtins([member_body(member) for member in members]),
        "unread": {str(root): count for root, count in unread.items()},
    }


@require_safe
def history(request: HttpRequest, room_id: UUID) -> HttpResponse:
    """Return a part of the room's messages as JSON."""
    user = require_user(request)
    here = access_room(user, room_id, VIEW)
    place = {
        "before": request.GET.get("before", ""),
        "after": request.GET.get("after", ""),
        "at": request.GET.get("at", ""),
        "around": request.GET.get("around", ""),
        "on": request.GET.get("on", ""),
    }
    return JsonResponse(_history(user, here, place))


def _find(room: Room, place: Mapping[str, str]) -> History:
    kind, value = next((item for item in place.items() if item[1]), ("", ""))
    match kind:
        case "before":
            return messages_before(room, _seq(value))
        case "after":
            return messages_after(room, _seq(value))
        case "at":
            return messages_beside(room, _seq(value))
        case "around":
            return messages_beside(room, _seq_of(room, value))
    return messages_beside(room, seq_at(room, _time(value)))


def _seq(words: str) -> int:
    if words.isascii() and words.isdecimal() and len(words) < 17 and int(words) < MAX_SEQ:
        return int(words)
    raise Invalid


def _seq_of(room: Room, words: str) -> int:
    try:
        message = room.messages.filter(pk=UUID(words)).values_list("seq", flat=True).first()
    except ValueError:
        raise Invalid from None
    if message is None:
        raise NotFound
    return message


def _time(words: str) -> datetime:
    try:
        moment = datetime.fromisoformat(words)
    except ValueError:
        raise Invalid from None
    if moment.tzinfo is None:
        raise Invalid
    return moment
