"""Posts, edits, deletes and reads messages, and reacts to them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import BigIntegerField, Q, UUIDField
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import rate_limits
from accounts.audit.log import audit
from accounts.database.prepared_queries import PreparedUpdate, insert
from accounts.errors import Conflict, Forbidden, Invalid, NotFound, TooLarge
from accounts.models import User
from accounts.names import is_blank
from agents.models import Persona
from rooms import event_log, queries, replies
from rooms.event_log import record
from rooms.fanout import publisher, unread
from rooms.markup import ParsedText, parse
from rooms.models import AuthorKind, Message, Room, RoomMember, RoomSummary, Run, Why
from rooms.permissions import (
    MODERATE,
    POST,
    VIEW,
    PostAccess,
    access_message,
    access_room,
    access_room_to_post,
    lock_message,
    lock_room,
    lock_room_to_post,
)
from rooms.protocol.commands import TEXT_LIMIT
from rooms.protocol.emoji import clean_emoji, merge_variants
from rooms.protocol.events import (
    DurableEvent,
    MessageCreated,
    MessageDeleted,
    MessageUpdated,
    ReactionChanged,
)
from rooms.protocol.serializers import message_body
from rooms.runs import queue
from rooms.runs.crews import round_steps
from rooms.runs.delta_store import delta_store
from rooms.runs.ending import cancel_runs
from rooms.runs.responders import Addressed, Place, choose, is_in_turn
from rooms.runs.steps import erasing

MAX_REACTIONS: Final = 20

MAX_CHARACTERS_UNCHECKED: Final = 500
"""The longest text that is parsed before the first query: parsing it costs less than the queries.

A longer text is parsed only after the permission, the idempotency key and the limit are checked.
"""


@dataclass(frozen=True, slots=True)
class Posted:
    """A posted message and the ids of the runs that answer it."""

    message: Message
    runs: list[UUID]


def post_message(
    *,
    user: User,
    room_id: UUID,
    text: str,
    client_id: UUID | None = None,
    reply_to: UUID | None = None,
    personas: Collection[UUID] | None = None,
    mentions_first: bool = False,
    in_turn: bool = False,
    led_by: UUID | None = None,
    also_in_room: bool = False,
) -> Posted:
    """Post a message in a room and queue the runs that answer it.

    `client_id` is an idempotency key per user and room: a repeated call returns the first message.
    With `reply_to`, the message is in the thread of that message, and in the room only with
    `also_in_room`. With `personas` None the room's answer policy selects the personas; with an
    empty collection, no persona answers. With `mentions_first`, personas that the text mentions
    answer instead of `personas`. With `in_turn`, or in a room of the mode `round`, several personas
    answer one after the other, and only the first run is queued. With `led_by`, this persona
    answers instead of all others, and may ask other personas before it does. Raises NotFound (room,
    reply_to or persona), Forbidden, RateLimited, Invalid (blank, or too many personas in turn),
    TooLarge, or Conflict (`reply_to` is deleted without replies).
    """
    is_counted = len(text) > MAX_CHARACTERS_UNCHECKED
    if is_counted:
        found = access_room_to_post(user, room_id, client_id=client_id, reply_to=reply_to)
        _check_length(text)
        if found.earlier:
            return _posted_earlier(found.room, found.earlier)
        _count_send(user, found.room)
    parsed = _parse_visible(text)  # before the transaction: no other post waits for the room lock
    with transaction.atomic():
        found = lock_room_to_post(user, room_id, client_id=client_id, reply_to=reply_to)
        room = found.room
        if found.earlier:
            return _posted_earlier(room, found.earlier)
        if not is_counted:
            _count_send(user, room)
        if parsed is None:
            raise _empty()
        if reply_to and not found.replied_to:
            raise NotFound
        root = replies.root_to_reply(found.thread) if found.thread else None
        handles = cache(room.handles)
        rendered = parsed.in_room(handles)
        addressed = Addressed(
            mentioned=rendered.mentioned,
            named=personas if led_by is None else [*(personas or ()), led_by],
            mentions_first=mentions_first and led_by is None,
            in_turn=in_turn,
            place=_place(found, root),
        )
        asked = choose(room, user, addressed)
        message = Message(
            room=room,
            seq=room.last_seq + 1,
            user=user,
            author_kind=AuthorKind.USER,
            author_name=found.author.name,
            author_handle=found.author.handle,
            text=text,
            html=rendered.html,
            reply_to_id=found.replied_to,
            thread_root=root,
            in_room=root is None or also_in_room,
            client_id=client_id,
        )
        insert(message)
        queued, events = _queue_answers(message, asked, addressed, led_by)
        changed = [replies.add_reply(root, message)] if root else []
        record(room, MessageCreated(message_body(message)), *changed, *events)
        _set_read(room, message)
        _add_mentions(message, rendered.mentioned, handles)
        return Posted(message, [run.pk for run in queued])


def _queue_answers(
    message: Message,
    asked: Sequence[tuple[Persona, Why]],
    addressed: Addressed,
    led_by: UUID | None,
) -> tuple[list[Run], list[DurableEvent]]:
    """Queue the runs that answer a new message; return them, and the events."""
    room, user = message.room, message.user
    assert user is not None
    if led_by is not None:
        lead = [(persona, Why.NAMED) for persona, _why in asked if persona.pk == led_by]
        runs, events = queue.queue_runs(room, message, lead, user, leads=True)
    elif len(asked) > 1 and is_in_turn(addressed, room.mode):
        return round_steps.begin(room, message, asked, user)
    else:
        runs, events = queue.queue_runs(room, message, asked, user)
    return runs, [*events]


def _set_read(room: Room, message: Message) -> None:
    """The author has read what the message follows: the room, or its thread."""
    if message.thread_root:
        replies.follow_as_author(message)
    if message.in_room:
        _SET_READ(room=room.pk, user=message.user_id, seq=message.seq, count=room.message_count)


def _add_mentions(
    message: Message, mentioned: Collection[str], handles: Callable[[], Mapping[str, UUID | None]]
) -> None:
    users = unread.add_mentions(message, mentioned, handles)
    replies.follow_as_mentioned(message, users)


def _place(found: PostAccess, root: Message | None) -> Place:
    """Return the place of a new message.

    The first reply to a message is for its author. Each further message of the thread may name the
    root, so this is no reply to its author; a persona follows up there without a later one.
    """
    if root is None:
        return Place()
    if root.pk != found.replied_to:
        is_to_person = found.replied_to_persona is None
        replied_to, follows = found.replied_to_persona, found.asked_last
        return Place(replied_to=replied_to, in_thread=True, follows=follows, to_person=is_to_person)
    is_first = found.asked_last is None and not root.reply_count
    return Place(
        replied_to=root.persona_id if is_first else None,
        in_thread=True,
        follows=found.asked_last or root.persona_id,
    )


def _posted_earlier(room: Room, message_id: UUID) -> Posted:
    """Return the message that was posted under the same `client_id`, and its runs."""
    message = room.messages.get(pk=message_id)
    return Posted(message, list(message.runs.order_by("pk").values_list("pk", flat=True)))


def _count_send(user: User, room: Room) -> None:
    rate_limits.consume(rate_limits.SEND, user, room_id=room.pk, team_id=room.team_id)


_SET_READ: Final = PreparedUpdate(
    lambda room, user, seq, count: (
        RoomMember.objects.filter(room=room, user=user),
        {"read_seq": seq, "read_count": count},
    ),
    room=UUIDField(),
    user=UUIDField(),
    seq=BigIntegerField(),
    count=BigIntegerField(),
)


@transaction.atomic
def mark_read(*, user: User, room_id: UUID, seq: int) -> None:
    """Set the read position of `user`; it never moves back, nor past the end of the room's log.

    The user's other connections get the new unread counts as `room.activity`.
    """
    room = access_room(user, room_id, VIEW)
    read = min(seq, room.last_seq)
    members = RoomMember.objects.filter(room=room, user=user, read_seq__lt=read)
    if members.update(read_seq=read, read_count=unread.messages_up_to(room, read)):
        transaction.on_commit(lambda: publisher.publisher.publish_read(room.pk, user.pk))


@transaction.atomic
def set_read_position(*, user: User, room_id: UUID, seq: int) -> unread.Unread:
    """Set the read position of `user`, which may move back, and return the unread counts.

    The position is at most the end of the room's log. The user's other connections get the new
    counts as `room.activity`.
    """
    room = access_room(user, room_id, VIEW)
    read = min(seq, room.last_seq)
    members = RoomMember.objects.filter(room=room, user=user)
    members.update(read_seq=read, read_count=unread.messages_up_to(room, read))
    transaction.on_commit(lambda: publisher.publisher.publish_read(room.pk, user.pk))
    (counts,) = unread.count_unread_of([(room.pk, user.pk)])
    return counts


def check_may_edit(user: User, message: Message) -> None:
    """Raise unless `user` is the author and the message is not deleted.

    The caller has checked that the user may post in the room.
    """
    if message.user_id != user.pk:
        detail = _("Only the author of a message can change it.")
        raise Forbidden(detail, team_id=message.room.team_id)
    check_not_deleted(message)


def edit_message(*, user: User, message_id: UUID, text: str) -> Message:
    """Change the text of the user's own message.

    An edit queues no run, even if it adds a mention of a persona.
    """
    message = access_message(user, message_id, POST)
    _check_length(text)
    check_may_edit(user, message)
    _count_send(user, message.room)
    parsed = _parse_visible(text)  # before the transaction: no other post waits for the room lock
    if parsed is None:
        raise _empty()
    with transaction.atomic():
        room = lock_room(user, message.room_id, POST)
        message = room.messages.get(pk=message_id)
        check_may_edit(user, message)
        if text != message.text:
            handles = cache(room.handles)
            rendered = parsed.in_room(handles)
            unread.remove_mentions(message)
            message.text, message.html = text, rendered.html
            message.edited_at = timezone.now()
            message.save(update_fields=["text", "html", "edited_at"])
            RoomSummary.objects.drop_covering(room, [message])
            _add_mentions(message, rendered.mentioned, handles)
            forgotten = erasing.forget([message])
            event_log.record(room, MessageUpdated(message_body(message)), *forgotten)
        return message


@transaction.atomic
def delete_message(*, user: User, message_id: UUID) -> None:
    """Delete a message, as its author or a moderator; a no-op for a deleted message.

    All versions of an answer are deleted. The rows keep their seq; the text is removed from the
    row, the log, the delta store, the summaries of the room and the results of tools. Active runs
    on the message are cancelled, and so is the run whose answer the message is.
    """
    author = Message.objects.filter(pk=message_id).values_list("user_id", flat=True).first()
    room, message = lock_message(user, message_id, POST if author == user.pk else MODERATE)
    if message.deleted_at is not None:
        return
    versions = queries.versions_of(room, message)
    for version in versions:
        _erase(version)
    RoomSummary.objects.drop_covering(room, versions)
    ids = [version.pk for version in versions]
    round_steps.cancel(room, Q(message__in=ids))
    cancel_runs(room, user.pk, Q(message__in=ids) | Q(answer__in=ids) | Q(replaces__in=ids))
    events = [event for version in versions for event in _redact(room, version)]
    events += erasing.forget(versions)
    if message.thread_root_id is not None:
        events.append(replies.remove_reply(message.thread_root_id))
    event_log.record(room, *events)
    if message.user_id != user.pk:
        audit(user, "message.deleted", message.pk, team_id=room.team_id)


def _erase(message: Message) -> None:
    unread.remove_mentions(message)
    message.text = message.html = ""
    message.reactions = {}
    message.pinned_seq = message.pinned_at = message.pinned_by = None
    message.deleted_at = timezone.now()
    message.save(
        update_fields=[
            *("text", "html", "reactions", "pinned_seq", "pinned_at", "pinned_by", "deleted_at")
        ]
    )


def _redact(room: Room, message: Message) -> list[DurableEvent]:
    """Remove an erased message from the delta store and the log; return the events.

    What its run has asked and got from tools is removed, too. The end of the run has written the
    steps of the answer, so they are removed after it.
    """
    run, events = room.runs.filter(answer=message).first(), list[DurableEvent]()
    if run is not None:
        delta_store().purge(message.pk, run.attempt)
        events += erasing.erase_work(run, message)
    event_log.redact(message.pk)
    message.steps = message.steered = None
    message.save(update_fields=["steps", "steered"])
    message.refresh_from_db(fields=["status", "round"])
    return [MessageDeleted(message=message_body(message, run)), *events]


@transaction.atomic
def react(*, user: User, message_id: UUID, emoji: str, on: bool) -> None:
    """Add or remove a reaction of `user`; no event is recorded if nothing changes."""
    room, message = lock_message(user, message_id, POST)
    check_not_deleted(message)
    emoji = clean_emoji(emoji)
    message.reactions = merge_variants(message.reactions)
    before = message.reactions.get(emoji, [])
    after = [user_id for user_id in before if user_id != str(user.pk)] + (
        [str(user.pk)] if on else []
    )
    if set(after) == set(before):
        return
    rate_limits.consume(rate_limits.REACT, user, room_id=room.pk, team_id=room.team_id)
    message.reactions |= {emoji: after}
    if not after:
        del message.reactions[emoji]
    if len(message.reactions) > MAX_REACTIONS:
        raise Conflict(_("This message has 20 different reactions. Use one of them."))
    message.save(update_fields=["reactions"])
    event_log.record(
        room, ReactionChanged(message=message.pk, reactions=message_body(message).reactions)
    )


def check_not_deleted(message: Message) -> None:
    """Raise Conflict for a deleted message."""
    if message.deleted_at is not None:
        raise Conflict(_("This message was deleted."))


def _check_length(text: str) -> None:
    """Raise TooLarge for more than TEXT_LIMIT characters, before work on each character."""
    if len(text) > TEXT_LIMIT:
        raise TooLarge(_("The message is longer than 16,000 characters. Shorten it or send two."))


def _parse_visible(text: str) -> ParsedText | None:
    """Return the parsed text, or None if it has no visible character or a NUL."""
    return None if is_blank(text) or "\x00" in text else parse(text)


def _empty() -> Invalid:
    sentence = _("The message is empty. Write something first.")
    return Invalid(sentence, fields={"text": sentence})
