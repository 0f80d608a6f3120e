"""Follows threads, and moves the read positions in them."""

from uuid import UUID

from django.db import transaction

from accounts.models import User
from rooms import replies
from rooms.fanout import publisher
from rooms.models import Message, ThreadFollower
from rooms.permissions import VIEW, access_message, lock_room


@transaction.atomic
def follow_thread(*, user: User, message_id: UUID, on: bool) -> ThreadFollower | None:
    """Let `user` follow the thread of a message, or end to follow it; return the row.

    A thread that is followed for the first time is read up to its last reply. None is returned if
    the user never followed it and still does not. Raises NotFound.
    """
    message = access_message(user, message_id, VIEW)
    room = lock_room(user, message.room_id, VIEW)
    root = replies.root_of(message)
    row = ThreadFollower.objects.filter(root=root, user=user).first()
    if row is None and on:
        return ThreadFollower.objects.create(
            room=room, root=root, user=user, read_seq=root.last_reply_seq or root.seq
        )
    if row is not None and row.following != on:
        row.following = on
        row.save(update_fields=["following"])
        transaction.on_commit(lambda: publisher.publisher.publish_read(room.pk, user.pk))
    return row


@transaction.atomic
def mark_thread_read(*, user: User, message_id: UUID, seq: int) -> None:
    """Move the read position of `user` in the thread of a message; it never moves back.

    A no-op for a user who never followed the thread. The user's other connections get the new
    counts as `room.activity`. Raises NotFound.
    """
    message = access_message(user, message_id, VIEW)
    read = min(seq, Message.objects.values_list("room__last_seq", flat=True).get(pk=message.pk))
    mine = ThreadFollower.objects.filter(user=user, read_seq__lt=read)
    if not mine.filter(root=replies.root_of(message)).exists():
        return  # replies do not wait for readers who change nothing
    root = _lock_root(message.thread_root_id or message.pk)
    rows = mine.filter(root=root)
    if rows.update(read_seq=read, is_unread=(root.last_reply_seq or 0) > read):
        transaction.on_commit(lambda: publisher.publisher.publish_read(message.room_id, user.pk))


def _lock_root(root_id: UUID) -> Message:
    """Lock a root, of an answer its last version: a reply that comes now waits, or is counted."""
    roots = Message.objects.select_for_update(no_key=True).only("last_reply_seq", "replaced_by")
    root = roots.get(pk=root_id)
    return root if root.replaced_by is None else _lock_root(root.replaced_by)
