"""Messages, mentions and the log of events."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.utils import timezone

from accounts.ids import new_id
from accounts.models import User
from agents.models import Persona
from rooms import indexes
from rooms.models.rooms import Room


class MessageStatus(models.TextChoices):
    COMPLETE = "complete"
    STREAMING = "streaming"
    FAILED = "failed"
    CANCELLED = "cancelled"


class AuthorKind(models.TextChoices):
    USER = "user"
    PERSONA = "persona"


class MessageQuerySet(models.QuerySet["Message"]):
    def current(self) -> Self:
        """Filter out the versions of answers that a later version has replaced."""
        return self.filter(replaced_by=None)

    def of_room(self) -> Self:
        """Filter to the current messages that the room shows, without replies of threads."""
        return self.current().filter(in_room=True)


class Message(models.Model):
    """A message of a user, or an answer of a persona, which a run writes.

    `seq` is the seq of the `message.created` event and orders the messages of a room. A new version
    of an answer takes the seq of the version that it replaces, which gets the seq of the event. The
    `text` of a streaming answer is empty: its deltas are in the delta store until the run ends. A
    deleted message keeps its seq and has no text.

    A thread is a root and its replies: `thread_root` is the root of a reply, None for a message of
    the room. `in_room` is False for a reply that only the thread shows. The fields `reply_count` to
    `reply_authors` of a root summarize its replies; `rooms.replies` changes them.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    room = models.ForeignKey(Room, models.CASCADE, db_index=False, related_name="messages")
    seq = models.PositiveBigIntegerField()
    user = models.ForeignKey(User, models.SET_NULL, null=True, db_index=False, related_name="+")
    # No constraint: the message keeps the id of its author when the persona is deleted.
    persona = models.ForeignKey(
        Persona, models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="+"
    )
    author_kind = models.CharField(max_length=7, choices=AuthorKind)
    author_name = models.CharField(max_length=40)
    author_handle = models.CharField(max_length=40)
    text = models.TextField(blank=True)
    html = models.TextField(blank=True)
    reply_to = models.ForeignKey(
        "self", models.SET_NULL, null=True, db_index=False, related_name="+"
    )
    client_id = models.UUIDField(null=True)
    status = models.CharField(max_length=9, choices=MessageStatus, default=MessageStatus.COMPLETE)
    created_at = models.DateTimeField(default=timezone.now)
    edited_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)
    # The limit that stopped the chain of answers at this answer, 0 for a full queue; see
    # rooms.runs.chains.
    capped_at = models.PositiveSmallIntegerField(null=True)
    # Maps an emoji to the ids of users; changed under the lock of the room.
    reactions = models.JSONField(default=dict)
    # The tool calls and the steering lines of an answer, as lists of the wire (`Step`, `Steering`);
    # None if there are none. Changed under the lock of the room.
    steps = models.JSONField(null=True)
    steered = models.JSONField(null=True)
    # The round of personas that answer this message in turn (payloads.RoundBody).
    round = models.JSONField(null=True)
    # The ids of the version before and of the version after this one; `answer_version` counts them.
    replaces = models.UUIDField(null=True)
    replaced_by = models.UUIDField(null=True)
    answer_version = models.PositiveSmallIntegerField(default=1, db_default=1)
    # The number of the version of the persona that answered.
    persona_version = models.PositiveIntegerField(null=True)
    # The numbers of `Vote`s, changed under the lock of the room.
    votes_up = models.PositiveIntegerField(default=0, db_default=0)
    votes_down = models.PositiveIntegerField(default=0, db_default=0)
    # The seq of the event that pinned the message, which orders the pins of a room.
    pinned_seq = models.PositiveBigIntegerField(null=True)
    pinned_at = models.DateTimeField(null=True)
    pinned_by = models.ForeignKey(
        User, models.SET_NULL, null=True, db_index=False, related_name="+"
    )
    # No constraint: a root is deleted only with its room, together with the replies.
    thread_root = models.ForeignKey(
        "self", models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="+"
    )
    in_room = models.BooleanField(default=True, db_default=True)
    reply_count = models.PositiveIntegerField(default=0, db_default=0)
    last_reply_seq = models.PositiveBigIntegerField(null=True)
    last_reply_at = models.DateTimeField(null=True)
    # The first authors of replies: kind, id and name of each.
    reply_authors = models.JSONField(null=True)

    objects = MessageQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["room", "seq"], name="message_seq_once"),
            models.UniqueConstraint(
                fields=["room", "user", "client_id"],
                condition=models.Q(client_id__isnull=False),
                name="message_sent_once",
            ),
        ]
        indexes: ClassVar = indexes.OF_MESSAGES

    def __str__(self) -> str:
        return str(self.pk)


class Vote(models.Model):
    """A user's opinion on an answer: `value` is 1 or -1. It counts after the account is deleted.

    People who may edit the persona read the `note`.
    """

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="votes")
    # No constraint: an answer of a deleted persona keeps its votes, and gets new ones.
    persona = models.ForeignKey(Persona, models.DO_NOTHING, db_constraint=False, related_name="+")
    user = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    value = models.SmallIntegerField()
    note = models.CharField(max_length=400, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["message", "user"], name="vote_once"),
            models.CheckConstraint(condition=models.Q(value__in=[1, -1]), name="vote_value"),
        ]

    def __str__(self) -> str:
        return f"{self.value} on {self.message_id}"


class Mention(models.Model):
    """A member whom a message mentions; `seq` is the message's. Read mentions are kept.

    `thread` is the root of the thread if only the thread shows the message: then it is read with
    the thread, otherwise with the room.
    """

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="+", db_index=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="+")
    # No constraint: as `Message.thread_root`.
    thread = models.ForeignKey(
        Message,
        models.DO_NOTHING,
        null=True,
        db_constraint=False,
        db_index=False,
        related_name="mentions_inside",
    )
    seq = models.PositiveBigIntegerField()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["room", "user", "seq"], name="mention_once"),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["thread", "user"],
                condition=models.Q(thread__isnull=False),
                name="mention_of_thread",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.message_id}"


class ThreadFollower(models.Model):
    """A user who follows a thread, or has ended to follow it, with a read position in the thread.

    A user who replies follows the thread; the author of the root and mentioned users follow it
    unless they have ended to. `is_unread` is True if there are replies after `read_seq`: a reply
    writes to the rows of those who had read the thread, and a count reads only unread threads.
    """

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="+", db_index=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    root = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="followers", db_index=False
    )
    following = models.BooleanField(default=True)
    read_seq = models.PositiveBigIntegerField(default=0)
    is_unread = models.BooleanField(default=False, db_default=False)

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["root", "user"], name="thread_follower_once"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["room", "user"], name="thread_follower_of_room"),
            models.Index(
                fields=["user", "room"],
                condition=models.Q(is_unread=True),
                name="thread_follower_unread",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} of {self.root_id}"


class RoomEvent(models.Model):
    """A durable event of a room; `payload` is its JSON frame.

    `message` is the id of the message whose text is in the payload, so that it can be redacted.
    """

    room = models.ForeignKey(Room, models.CASCADE, db_index=False, related_name="events")
    seq = models.PositiveBigIntegerField()
    type = models.CharField(max_length=32)
    payload = models.TextField()
    message = models.UUIDField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(
                fields=["message"],
                condition=models.Q(message__isnull=False),
                name="room_event_of_message",
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["room", "seq"], name="room_event_seq_once"),
        ]

    def __str__(self) -> str:
        return f"{self.room_id} {self.seq} {self.type}"
