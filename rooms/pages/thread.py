"""A thread: the template context of its panel, and the same as data for the scripts."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec

from accounts.models import Team, User
from rooms import own_threads, queries
from rooms.models import AuthorKind, Message, Room
from rooms.pages.answering import answering_line
from rooms.pages.timeline import ended_runs, parse_time, timeline_items
from rooms.protocol.payloads import MessageBody, RoomState, RunBody
from rooms.protocol.serializers import member_body
from rooms.runs.responders import Place

FOLLOWED: Final = 50
"""The threads on a page of the list."""


@dataclass(frozen=True, slots=True)
class FollowedThread:
    """A thread in the list of those that a user follows; `at` is the time of its last reply."""

    root: MessageBody
    room: Room
    unread: int
    at: datetime


def thread_context(
    user: User,
    room: Room,
    state: RoomState,
    root: Message,
    before: int | None = None,
    *,
    unusable: Collection[UUID],
) -> dict[str, Any]:
    """Return the context of `_thread.html`; with `before`, of the replies before that seq.

    `state` is that of the room: its members, personas and active runs are those of the thread.
    `unusable` are the personas that the user may not ask.
    """
    messages, complete = queries.thread_page(root, before)
    ended = ended_runs(messages)
    follow = own_threads.thread_of(user, root)
    of_thread = msgspec.structs.replace(state, messages=messages)
    first, *replies = timeline_items(user, of_thread, ended, None, thread=root.pk)
    replies[:1] = [replace(each, continued=False) for each in replies[:1]]  # below the count
    return {
        "root": replace(first, thread=None),
        "items": replies,
        "replies": follow.message.replies,
        "following": follow.following,
        "answering": answering_line(state, unusable, _place(state, messages, root.pk)),
        "earlier": None if complete else messages[1].seq,
        "before": before,
        "is_deleted": root.deleted_at is not None and not root.reply_count,
        "client_id": uuid4(),
        "data": _data(
            [msgspec.structs.replace(each, html="") for each in messages],  # on the page already
            ended,
            complete=complete,
        )
        | {"following": follow.following, "unread": follow.unread},
    }


def _place(state: RoomState, messages: Sequence[MessageBody], root: UUID) -> Place:
    """Return the place of a reply that names the root of a thread, of which `messages` are known.

    As `placeOf` in static/rooms/threads/thread_state.js.
    """
    asked = [run.persona for run in state.runs if run.thread == root]
    said = [each.author.id for each in messages if each.author.kind == AuthorKind.PERSONA]
    author = messages[0].author
    is_first = not asked and not messages[0].replies
    return Place(
        replied_to=author.id if is_first and author.kind == AuthorKind.PERSONA else None,
        in_thread=True,
        follows=next(iter([*asked[::-1], *said[::-1]]), None),
    )


def thread_data(user: User, room: Room, root: Message, before: int | None) -> dict[str, Any]:
    """Return a thread for the scripts, with the HTML of its messages and with their authors."""
    messages, complete = queries.thread_page(root, before)
    follow = own_threads.thread_of(user, root)
    authors = [each.author.id for each in messages if each.author.kind == "user"]
    members, _count = queries.first_members(room, authors)
    return _data(messages, ended_runs(messages), complete=complete) | {
        "following": follow.following,
        "unread": follow.unread,
        "members": msgspec.to_builtins([member_body(each) for each in members]),
    }


def _data(
    messages: Sequence[MessageBody], ended: Sequence[RunBody], *, complete: bool
) -> dict[str, Any]:
    root, *_replies = messages
    return {
        "root": str(root.id),
        "messages": msgspec.to_builtins(messages, str_keys=True),
        "runs": msgspec.to_builtins(ended),
        "complete": complete,
    }


def followed_context(user: User, team: Team, after: str) -> dict[str, Any]:
    """Return the context of the list of followed threads; `after` is the cursor of a page."""
    rows = own_threads.followed_threads(user, team)
    items, following = own_threads.page_of_threads(rows, limit=FOLLOWED, cursor=after or None)
    rooms = Room.objects.in_bulk([item.message.room for item in items])
    queries.name_direct_rooms(user, list(rooms.values()))
    return {
        "threads": [
            FollowedThread(
                root=item.message,
                room=rooms[item.message.room],
                unread=item.unread,
                at=_last_at(item.message),
            )
            for item in items
        ],
        "threads_here": True,
        "next_threads": following,
        "after_threads": after,
    }


def _last_at(root: MessageBody) -> datetime:
    return parse_time(root.replies.last_at if root.replies else root.created_at)
