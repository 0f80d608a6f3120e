"""What is said in a room: posted, edited, deleted, reacted to, read."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import OuterRef, Q, Subquery, UUIDField
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import rate_limits
from accounts.audit.log import audit
from accounts.errors import Conflict, Forbidden, Invalid, NotFound, TooLarge
from accounts.models import User
from rooms import event_log
from rooms.event_log import record
from rooms.markup import mentioned, render
from rooms.models import AuthorKind, Message, Room, RoomMember
from rooms.permissions import (
    MODERATE,
    POST,
    VIEW,
    access_message,
    access_room,
    lock_room,
    lock_to_write,
)
from rooms.protocol.commands import TEXT_LIMIT
from rooms.protocol.emoji import clean_emoji
from rooms.protocol.events import MessageCreated, MessageDeleted, MessageUpdated, ReactionChanged
from rooms.protocol.serializers import message_body
from rooms.runs import lifecycle
from rooms.runs.delta_store import delta_store
from rooms.runs.ending import cancel_runs
from rooms.runs.responders import responders

MOST_EMOJI: Final = 20


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of a message: its seq in the room and the runs that answer it."""

    message: Message
    runs: list[UUID]


@transaction.atomic
def post_message(
    *,
    user: User,
    room_id: UUID,
    text: str,
    client_id: UUID | None = None,
    reply_to: UUID | None = None,
    personas: Collection[UUID] | None = None,
) -> Posted:
    """Say something in a room and put the answers to it in line.

    The same `client_id` of the same user in the same room is one message, however often it comes.
    `personas` None leaves it to the room who answers; an empty collection asks nobody. Raises
    NotFound (room, reply_to or persona), Forbidden, RateLimited, Invalid (blank) or TooLarge.
    """
    room, author, known = lock_to_write(user, room_id, **_known(user, client_id, reply_to))
    if earlier_id := known.get("earlier"):
        earlier = room.messages.get(pk=earlier_id)
        return Posted(earlier, list(earlier.runs.order_by("pk").values_list("pk", flat=True)))
    rate_limits.consume(rate_limits.SEND, user, room_id=room.pk, team_id=room.team_id)
    check_text(text)
    if reply_to and not known["answered"]:
        raise NotFound
    handles = room.handles_in(text)
    asked = responders(
        room,
        user,
        mentioned=mentioned(text, handles),
        replied_to=known.get("answered_by"),
        named=personas,
    )
    message = Message.objects.create(
        room=room,
        seq=room.last_seq + 1,
        user=user,
        author_kind=AuthorKind.USER,
        author_name=author.name,
        author_handle=author.handle,
        text=text,
        html=render(text, handles),
        reply_to_id=reply_to,
        client_id=client_id,
    )
    queued, events = lifecycle.queue_runs(room, message, asked, user)
    record(room, MessageCreated(message_body(message)), *events)
    RoomMember.objects.filter(room=room, user=user).update(read_seq=message.seq)
    return Posted(message, [run.pk for run in queued])


def _known(user: User, client_id: UUID | None, reply_to: UUID | None) -> dict[str, Subquery]:
    """Return what must be looked up before a message is posted: each the id of something, or none.

    `earlier` is the message that this one is a copy of, `answered` the one it replies to, and
    `answered_by` the persona that has said that.
    """
    said = Message.objects.filter(room=OuterRef("content_object")).order_by()
    known = {}
    if client_id is not None:
        known["earlier"] = Subquery(said.filter(user=user, client_id=client_id).values("pk")[:1])
    if reply_to is not None:
        answered = said.filter(pk=reply_to)
        known["answered"] = Subquery(answered.values("pk")[:1])
        # SQLite would not know that a foreign key is a UUID, too.
        known["answered_by"] = Subquery(answered.values("persona")[:1], output_field=UUIDField())
    return known


@transaction.atomic
def mark_read(*, user: User, room_id: UUID, seq: int) -> None:
    """Remember how far `user` has read; it never moves back, nor beyond the end of the log."""
    room = access_room(user, room_id, VIEW)
    read = min(seq, room.last_seq)
    RoomMember.objects.filter(room=room, user=user, read_seq__lt=read).update(read_seq=read)


def check_may_edit(user: User, message: Message) -> None:
    """Raise unless `user`, who may write in its room, has written the message, and it is there."""
    if message.user_id != user.pk:
        detail = _("Only whoever wrote a message may change it.")
        raise Forbidden(detail, team_id=message.room.team_id)
    _check_there(message)


@transaction.atomic
def edit_message(*, user: User, message_id: UUID, text: str) -> Message:
    """Change what one has said oneself. Nobody changes the words of others, nor of a persona.

    Personas that are mentioned only now are not asked: an edit mends, it does not speak.
    """
    room, message = _lock(user, message_id, POST)
    check_may_edit(user, message)
    rate_limits.consume(rate_limits.SEND, user, room_id=room.pk, team_id=room.team_id)
    check_text(text)
    if text != message.text:
        message.text = text
        message.html = render(text, room.handles_in(text))
        message.edited_at = timezone.now()
        message.save(update_fields=["text", "html", "edited_at"])
        event_log.record(room, MessageUpdated(message_body(message)))
    return message


@transaction.atomic
def delete_message(*, user: User, message_id: UUID) -> None:
    """Take away what was said: one's own, or anybody's for a moderator; twice is as once.

    The message keeps its place; its words are gone from the log, too. What was being answered to it
    is stopped, and so is the answer itself if it is one.
    """
    author = Message.objects.filter(pk=message_id).values_list("user_id", flat=True).first()
    room, message = _lock(user, message_id, POST if author == user.pk else MODERATE)
    if message.deleted_at is not None:
        return
    message.text = message.html = ""
    message.reactions = {}
    message.deleted_at = timezone.now()
    message.save(update_fields=["text", "html", "reactions", "deleted_at"])
    cancel_runs(room, user.pk, Q(message=message) | Q(answer=message))
    answered_by = room.runs.filter(answer=message).first()
    if answered_by is not None:
        delta_store().purge(message.pk, answered_by.attempt)
    event_log.redact(message.pk)
    message.refresh_from_db(fields=["status"])
    run_id = answered_by.pk if answered_by else None
    event_log.record(room, MessageDeleted(message_body(message, run_id)))
    if message.user_id != user.pk:
        audit(user, "message.deleted", message.pk, team_id=room.team_id)


@transaction.atomic
def react(*, user: User, message_id: UUID, emoji: str, on: bool) -> None:
    """Put an emoji to a message, or take it back; what is so already stays so."""
    room, message = _lock(user, message_id, POST)
    _check_there(message)
    emoji = clean_emoji(emoji)
    before = message.reactions.get(emoji, [])
    after = [one for one in before if one != str(user.pk)] + ([str(user.pk)] if on else [])
    if set(after) == set(before):
        return
    rate_limits.consume(rate_limits.REACT, user, room_id=room.pk, team_id=room.team_id)
    message.reactions |= {emoji: after}
    if not after:
        del message.reactions[emoji]
    if len(message.reactions) > MOST_EMOJI:
        raise Conflict(_("This message has 20 different reactions. Use one of them."))
    message.save(update_fields=["reactions"])
    event_log.record(
        room, ReactionChanged(message=message.pk, reactions=message_body(message).reactions)
    )


def _lock(user: User, message_id: UUID, permission: str) -> tuple[Room, Message]:
    """Lock the room of a message, behind its gate, and return both as they are then."""
    room_id = access_message(user, message_id, VIEW).room_id
    room = lock_room(user, room_id, permission)
    return room, room.messages.get(pk=message_id)


def _check_there(message: Message) -> None:
    if message.deleted_at is not None:
        raise Conflict(_("This message was deleted."))


def check_text(text: str) -> None:
    """Raise unless a message may have this text."""
    if not text.strip() or "\x00" in text:
        raise Invalid(_("Write something first."))
    if len(text) > TEXT_LIMIT:
        raise TooLarge(_("A message has at most 16,000 characters. Shorten it or send two."))
