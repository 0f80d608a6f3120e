"""What is unread in threads: the flag of the followers, and mentions that only a thread shows."""

import random

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from rooms import own_threads, queries, services
from rooms.fanout.unread import count_unread
from rooms.models import Message, ThreadFollower
from tests.rooms.conftest import Cast
from tests.rooms.fanout.test_unread import fill, steps
from tests.rooms.services.test_threads import reply, say

pytestmark = pytest.mark.django_db


def mentions(cast: Cast, user: User) -> int:
    (found,) = count_unread([cast.room.pk], [user.pk])
    by_thread = own_threads.unread_mentions(user, cast.room)
    assert sum(by_thread.values()) <= found.mentions
    return found.mentions


def test_mention_in_a_thread_is_read_with_the_thread_and_not_with_the_room(cast: Cast) -> None:
    root = say(cast, "root")
    inside = reply(cast, root, cast.owner, text="@moderator and @reader, look")
    both = reply(cast, root, cast.owner, text="@moderator, here too", also_in_room=True)
    assert mentions(cast, cast.moderator) == 2

    services.mark_read(user=cast.moderator, room_id=cast.room.pk, seq=10**6)
    services.follow_thread(user=cast.moderator, message_id=root.pk, on=False)

    assert mentions(cast, cast.moderator) == 1
    assert own_threads.unread_mentions(cast.moderator, cast.room) == {root.pk: 1}
    services.mark_thread_read(user=cast.moderator, message_id=root.pk, seq=inside.seq)
    assert mentions(cast, cast.moderator) == 0
    services.mark_thread_read(user=cast.reader, message_id=root.pk, seq=inside.seq - 1)
    assert mentions(cast, cast.reader) == 1
    services.delete_message(user=cast.owner, message_id=inside.pk)
    assert mentions(cast, cast.reader) == 0
    assert both.in_room


def test_edited_reply_does_not_mention_again_after_the_thread_was_read(cast: Cast) -> None:
    root = say(cast, "root")
    inside = reply(cast, root, cast.owner, text="@reader look")
    services.mark_thread_read(user=cast.reader, message_id=root.pk, seq=inside.seq)

    services.edit_message(user=cast.owner, message_id=inside.pk, text="@reader, @moderator")

    assert (mentions(cast, cast.reader), mentions(cast, cast.moderator)) == (0, 1)


def act_at_random(cast: Cast, chance: random.Random, roots: list[Message]) -> None:
    """Reply, delete, read or follow as a random member."""
    root, user = chance.choice(roots), chance.choice([cast.owner, cast.moderator, cast.member])
    replies = list(Message.objects.filter(thread_root=root, deleted_at=None))
    match chance.choice(["reply", "reply", "delete", "read", "read", "follow"]):
        case "delete" if replies:
            services.delete_message(user=cast.owner, message_id=chance.choice(replies).pk)
        case "read":
            seq = chance.randint(0, cast.refreshed().last_seq + 2)
            services.mark_thread_read(user=user, message_id=root.pk, seq=seq)
        case "follow":
            services.follow_thread(user=user, message_id=root.pk, on=chance.random() < 0.5)
        case _:
            reply(cast, root, user, text=chance.choice(["words", "@reader, look", "@member?"]))


@pytest.mark.parametrize("seed", range(2))
def test_thread_is_unread_if_it_has_unread_replies_after_every_change(
    cast: Cast, seed: int
) -> None:
    chance = random.Random(seed)
    roots = [say(cast, f"root {n}") for n in range(2)]
    for _ in range(40):
        act_at_random(cast, chance, roots)

        for row in ThreadFollower.objects.all():
            unread = Message.objects.filter(thread_root=row.root, seq__gt=row.read_seq)
            assert row.is_unread == unread.filter(deleted_at=None).exists()
        for user in (cast.owner, cast.moderator, cast.member, cast.reader):
            rows = ThreadFollower.objects.filter(user=user, following=True, is_unread=True)
            (counts,) = count_unread([cast.room.pk], [user.pk])
            assert counts.threads == rows.count()


def test_count_reads_only_the_unread_threads(cast: Cast) -> None:
    reply(cast, say(cast, "root"), cast.owner)

    def ask() -> None:
        (counts,) = count_unread([cast.room.pk], [cast.member.pk])
        assert counts.threads == 1

    ask()
    few = steps(ask)
    fill(cast, 300)
    ThreadFollower.objects.bulk_create(
        ThreadFollower(room=cast.room, user=cast.member, root=root, read_seq=root.seq)
        for root in Message.objects.filter(room=cast.room, html__startswith="x")
    )

    assert steps(ask) <= few * 1.02 + 1


def test_open_threads_of_a_snapshot_take_the_same_queries_however_many_they_are(
    cast: Cast,
) -> None:
    roots = [say(cast, f"root {n}") for n in range(4)]
    for root in roots:
        reply(cast, root, cast.owner)

    def cost(opened: list[Message]) -> int:
        with CaptureQueriesContext(connection) as captured:
            found = queries.thread_messages(cast.room.pk, [each.pk for each in opened], before=1)
        assert len(found) == len(opened)  # the room shows the roots
        return len(captured)

    assert cost(roots[:1]) == cost(roots) == 3
