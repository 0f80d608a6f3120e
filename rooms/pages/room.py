"""The template context of a room's page: timeline, panel, and the initial data of its scripts."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec
from django.utils import timezone

from accounts.fields import format_timestamp
from accounts.models import User
from agents.permissions import EDIT, USE, rights_on
from rooms import queries
from rooms.models import Message, Room
from rooms.own_threads import unread_mentions, unread_replies
from rooms.pages.acting.to_decide import waiting_rows
from rooms.pages.answering import answering_line, answering_persona, has_answering_persona
from rooms.pages.panel import panel_context
from rooms.pages.sidebar import RoomRow
from rooms.pages.starters import starters, welcome_words
from rooms.pages.thread import thread_context
from rooms.pages.timeline import ended_runs, timeline_items
from rooms.permissions import MANAGE, POST, permissions_in
from rooms.protocol.payloads import Author, MessageBody, RoomState, RunBody

NEWEST: Final = 24
"""The messages of a room's page, which fill a screen; earlier ones are loaded when the reader
scrolls to them."""


def room_context(
    user: User,
    room: Room,
    *,
    before: int | None = None,
    around: Message | None = None,
    thread: Message | None = None,
    row: RoomRow | None = None,
    permissions: list[str] | None = None,
) -> dict[str, Any]:
    """Return the context of the page.

    With `before` it shows the messages before that seq, without scripts; with `around` those beside
    a message.

    With the root `thread`, the page shows its thread beside the newest messages, and `before` is
    for the replies. `row` is that of the room in the sidebar, which has no archived rooms.
    `permissions` are those of the user in the room, if the caller has read them.

    `room` must have been read before this call: the socket catches up from its `last_seq`, so that
    an event during the other queries is not lost.
    """
    in_thread, before = (None, before) if thread is None else (before, None)
    permissions = permissions_in(user, room) if permissions is None else permissions
    membership = row or room.members.filter(user=user).first()
    is_part = before is not None or around is not None
    state = queries.room_state(
        room,
        permissions,
        before,
        around=around,
        newest=queries.PAGE if is_part else _length(row),
    )
    ended = ended_runs(state.messages)
    rights = rights_on(user, room.personas.all()) if state.personas else {}
    unusable = [each.id for each in state.personas if USE not in rights.get(each.id, ())]
    roots = [message.id for message in state.messages if message.replies]
    unread = unread_replies(user, roots)
    beside = thread and thread_context(user, room, state, thread, in_thread, unusable=unusable)
    has_mentions = row is not None and row.is_mentioned_in_threads
    mentions = unread_mentions(user, room) if has_mentions else {}
    read_seq = membership.read_seq if membership else None
    later = _later(room, state.messages) if is_part else None
    items = timeline_items(
        user,
        _without_queue(state) if later else state,
        ended,
        None if is_part else read_seq,
        versions=_versions(room, around),
        unread=unread,
    )
    shown = [*items, beside["root"], *beside["items"]] if beside else items
    return {
        "room": room,
        "items": items,
        "thread": beside,
        "acts": any(item.acts for item in shown),
        # Scripts know the last version of an answer only.
        "is_live": before is None and (around is None or around.replaced_by is None),
        "linked": around and around.pk,
        "later": later,
        "earlier": None if state.messages_complete else state.messages[0].seq,
        "may_post": POST in state.permissions,
        "may_manage": MANAGE in state.permissions,
        "client_id": uuid4(),
        "membership": membership,
        "welcome": _welcome(user, room, state) if membership and membership.welcome else None,
        "panel": panel_context(room, state),
        "waiting": waiting_rows(user, state),
        "editable": [persona for persona, held in rights.items() if EDIT in held],
        "placeholder_id": UUID(int=0),  # scripts replace it in the addresses of cards
        "answering": answering_line(state, unusable),
        "has_persona": has_answering_persona(state),
        "data": _data(user, room.last_seq, state, ended)
        | {
            "read_seq": read_seq,
            "linked": around and str(around.pk),
            "later": later is not None,
            "unusable": unusable,
            "unread": {str(root): count for root, count in unread.items()},
            "mentions": {str(root): count for root, count in mentions.items()},
            "thread": beside and beside["data"],
        },
    }


def _welcome(user: User, room: Room, state: RoomState) -> dict[str, Any] | None:
    """Return what the welcome of a new member shows; None after the first message of the user."""
    if POST not in state.permissions or room.messages.filter(user=user).exists():
        return None
    persona = answering_persona(state)
    return {
        "words": welcome_words(user.name, persona.name if persona else ""),
        "starters": starters() if persona else [],
    }


def _without_queue(state: RoomState) -> RoomState:
    """Return the state without queued runs, which stand behind the newest message."""
    answering = [run for run in state.runs if run.answer is not None]
    return msgspec.structs.replace(state, runs=answering)


def _versions(room: Room, linked: Message | None) -> dict[UUID, int]:
    """Return the number of versions of the linked answer, if it was replaced."""
    if linked is None or linked.replaced_by is None:
        return {}
    return {linked.pk: len(queries.versions_of(room, linked))}


def _later(room: Room, messages: Sequence[MessageBody]) -> UUID | None:
    """Return the last of `messages` if the room has later ones, else None."""
    last = messages[-1] if messages else None
    if last and room.messages.of_room().filter(seq__gt=last.seq).exists():
        return last.id
    return None


def _length(row: RoomRow | None) -> int:
    """Return how many messages the page has.

    It has all unread ones and the last that was read, unless these are more than `queries.PAGE`.
    """
    wanted = row.unread + 1 if row else 0
    return max(NEWEST, wanted) if wanted <= queries.PAGE else NEWEST


_USUAL: Final[dict[str, Any]] = {
    "html": "",
    "reply_to": None,
    "thread": None,
    "also_in_room": False,
    "replies": None,
    "run": None,
    "status": "complete",
    "reactions": {},
    "edited_at": None,
    "deleted": False,
    "pinned": None,
    "replaces": None,
    "replaced_by": None,
    "answer_version": 1,
    "version": None,
    "votes": None,
}
"""The usual values of a message; the data of the page has them once."""


def _short(
    message: MessageBody, usual: Mapping[str, Any], authors: Sequence[Author]
) -> dict[str, Any]:
    """Return a message without its usual values, and with the index of its author."""
    fields: dict[str, Any] = msgspec.to_builtins(message)
    fields["author"] = authors.index(message.author)
    return {name: value for name, value in fields.items() if usual.get(name, ...) != value}


def _data(user: User, seq: int, state: RoomState, ended: Sequence[RunBody]) -> dict[str, Any]:
    """Return the data of `#room-data`, without the HTML of the messages, which the page has.

    Its reader adds `usual` to each message, and the author instead of the index.
    """
    authors = list(dict.fromkeys(message.author for message in state.messages))
    usual = _USUAL | {"room": str(state.room.id)}
    messages = [msgspec.structs.replace(message, html="") for message in state.messages]
    without_messages = msgspec.structs.replace(state, messages=[])
    return {
        "usual": usual,
        "authors": msgspec.to_builtins(authors),
        "me": str(user.pk),
        "handle": user.handle,
        "seq": seq,
        "now": format_timestamp(timezone.now()),
        "state": msgspec.to_builtins(without_messages, str_keys=True)
        | {"messages": [_short(message, usual, authors) for message in messages]},
        "ended": msgspec.to_builtins(ended),
    }
