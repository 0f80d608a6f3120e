"""Threads: their roots, the summary of the replies in a root, and who follows a thread.

Functions that write are called in a transaction that has locked the room, so that no reply is lost
in the summary.
"""

from collections.abc import Collection, Mapping
from typing import Final
from uuid import UUID

from django.db.models import Min, UUIDField
from django.utils.translation import gettext_lazy as _

from accounts.database.prepared_queries import PreparedQuery, PreparedUpdate
from accounts.errors import Conflict
from rooms.models import AuthorKind, Mention, Message, Run, ThreadFollower
from rooms.protocol.events import ThreadChanged
from rooms.protocol.serializers import replies_body

MAX_AUTHORS: Final = 5
SUMMARY: Final[Mapping[str, int | None]] = {
    "reply_count": 0,
    "last_reply_seq": None,
    "last_reply_at": None,
    "reply_authors": None,
}
"""The fields of a root that summarize its replies, and their values without replies."""


def root_to_reply(root_id: UUID) -> Message:
    """Return the root of a new reply. Raises Conflict if it is deleted and has no replies."""
    root = get_root(root_id)
    if root.deleted_at is not None and not root.reply_count:
        raise Conflict(_("This message was deleted. Write in the room instead."))
    return root


def get_root(root_id: UUID) -> Message:
    """Return the root of a thread that has replies, or gets one; of an answer, the last version.

    Each later version takes another query.
    """
    (root,) = _ROOT(root=root_id)
    return root if root.replaced_by is None else get_root(root.replaced_by)


def root_of(message: Message) -> Message:
    """Return the root of the thread of a message, which may be the message."""
    return get_root(message.thread_root_id or message.pk)


def add_reply(root: Message, reply: Message) -> ThreadChanged:
    """Count a new reply in the summary of its root, and return the event.

    With the first reply, the author of the root follows the thread. The thread is unread for all
    followers; the author of the reply has read it after `follow_as_author`.
    """
    if not root.reply_count and root.user_id is not None and root.user_id != reply.user_id:
        _follow(reply, [root.user_id])
    root.reply_count += 1
    root.last_reply_seq, root.last_reply_at = reply.seq, reply.created_at
    authors = root.reply_authors or []
    author = _author(reply)
    if all((each["kind"], each["id"]) != (author["kind"], author["id"]) for each in authors):
        root.reply_authors = [*authors, author][:MAX_AUTHORS]
    changed = _changed(root)
    _SET_UNREAD(root=root.pk)
    return changed


def remove_reply(root_id: UUID) -> ThreadChanged:
    """Count the replies of a root again after the deletion of one, and return the event."""
    root = get_root(root_id)
    replies = Message.objects.current().filter(thread_root=root, deleted_at=None)
    last = replies.order_by("-seq").values_list("seq", "created_at").first()
    root.reply_count = replies.count()
    root.last_reply_seq, root.last_reply_at = last or (None, None)
    authors = replies.order_by().values("author_kind", "user", "persona")
    firsts = authors.annotate(first=Min("seq")).order_by("first").values_list("first", flat=True)
    first_replies = replies.filter(seq__in=list(firsts[:MAX_AUTHORS])).order_by("seq")
    root.reply_authors = [_author(each) for each in first_replies]
    changed = _changed(root)
    unread = ThreadFollower.objects.filter(root=root, is_unread=True)
    unread.filter(read_seq__gte=root.last_reply_seq or 0).update(is_unread=False)
    return changed


def move_thread(old: Message, new: Message) -> None:
    """Make a new version of an answer the root of the thread of the version before it.

    The replies, the mentions in them, the followers, and the runs that have not ended move in the
    database; the summary moves in `old` and `new`, which the caller stores.
    """
    Message.objects.filter(thread_root=old).update(thread_root=new)
    Mention.objects.filter(thread=old).update(thread=new)
    ThreadFollower.objects.filter(root=old).update(root=new)
    Run.objects.active().filter(room=old.room_id, thread=old.pk).update(thread=new.pk)
    for name, empty in SUMMARY.items():
        setattr(new, name, getattr(old, name))
        setattr(old, name, empty)


def follow_as_author(reply: Message) -> None:
    """Let the author of a new reply follow its thread, with the thread read up to the reply."""
    if reply.user_id is None:
        return
    ThreadFollower.objects.bulk_create(
        [_follower(reply, reply.user_id, reply.seq)],
        update_conflicts=True,
        unique_fields=["root", "user"],
        update_fields=["following", "read_seq", "is_unread"],
    )


def follow_as_mentioned(message: Message, users: Collection[UUID]) -> None:
    """Let users whom a message mentions follow its thread; a no-op for a message of the room."""
    if users and message.thread_root_id is not None:
        _follow(message, users)


def _follow(reply: Message, users: Collection[UUID]) -> None:
    """Let users follow the thread, read up to before `reply`, unless they have a row already."""
    ThreadFollower.objects.bulk_create(
        [_follower(reply, user_id, reply.seq - 1) for user_id in users], ignore_conflicts=True
    )


def _follower(reply: Message, user_id: UUID, read_seq: int) -> ThreadFollower:
    assert reply.thread_root_id is not None
    return ThreadFollower(
        room_id=reply.room_id,
        user_id=user_id,
        root_id=reply.thread_root_id,
        read_seq=read_seq,
        is_unread=read_seq < reply.seq,
    )


def _author(reply: Message) -> dict[str, str | None]:
    is_user = reply.author_kind == AuthorKind.USER
    author_id = reply.user_id if is_user else reply.persona_id
    return {
        "kind": str(reply.author_kind),
        "id": None if author_id is None else str(author_id),
        "name": reply.author_name,
    }


def _changed(root: Message) -> ThreadChanged:
    """Store the summary of a root, and return the event."""
    root.save(update_fields=SUMMARY)
    return ThreadChanged(message=root.pk, replies=replies_body(root))


_ROOT: Final = PreparedQuery(lambda root: Message.objects.filter(pk=root), root=UUIDField())
_SET_UNREAD: Final = PreparedUpdate(
    lambda root: (ThreadFollower.objects.filter(root=root, is_unread=False), {"is_unread": True}),
    root=UUIDField(),
)
