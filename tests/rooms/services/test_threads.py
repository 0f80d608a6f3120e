"""Threads: where replies and answers are, the summary of the root, followers and unread counts."""

from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from django.test import Client
from django.urls import reverse

from accounts.errors import Conflict, Invalid, NotFound
from accounts.models import User
from agents.engine_types import Usage
from rooms import own_threads, queries, services
from rooms.event_log import events_after
from rooms.fanout.unread import count_unread
from rooms.models import AnswersIn, Message, Room, ThreadFollower
from rooms.protocol.serializers import replies_body
from rooms.runs import lifecycle
from rooms.runs.lifecycle import Job
from rooms.socket.snapshots import complete_state, read_state
from tests.rooms.claiming import claim_and_start
from tests.rooms.conftest import Cast

pytestmark = pytest.mark.django_db


def say(cast: Cast, text: str, user: User | None = None, **options: Any) -> Message:
    options.setdefault("personas", [])
    author = user or cast.member
    return services.post_message(user=author, room_id=cast.room.pk, text=text, **options).message


def reply(cast: Cast, to: Message, user: User, text: str = "reply", **options: Any) -> Message:
    return say(cast, text, user, reply_to=to.pk, **options)


def answer(cast: Cast) -> Job:
    taken = claim_and_start("worker")
    assert taken is not None
    assert taken[1] is not None
    return taken[1]


def shown(cast: Cast) -> list[UUID]:
    messages, _complete = queries.newest_messages(cast.refreshed())
    return [message.id for message in messages]


def kinds_after(cast: Cast, seq: int) -> list[str]:
    return [event.type for event in events_after(cast.room.pk, seq)]


def following(cast: Cast, root: Message) -> dict[UUID, tuple[bool, int]]:
    rows = ThreadFollower.objects.filter(root=root)
    return {row.user_id: (row.following, row.read_seq) for row in rows}


def threads(cast: Cast, user: User) -> list[tuple[UUID, int]]:
    """Return the followed threads of a user and their unread replies."""
    rows = own_threads.followed_threads(user, cast.team)
    items, _next = own_threads.page_of_threads(rows, limit=50)
    return [(item.message.id, item.unread) for item in items]


def test_reply_to_any_message_of_a_thread_is_in_the_thread_of_its_root(cast: Cast) -> None:
    root = say(cast, "root")
    first = reply(cast, root, cast.owner)

    second = reply(cast, first, cast.member)

    assert (first.thread_root_id, second.thread_root_id) == (root.pk, root.pk)
    assert second.reply_to_id == first.pk
    assert shown(cast) == [root.pk]
    of_thread = queries.messages_of(cast.room, str(second.pk)).order_by("seq")
    assert list(of_thread) == [root, first, second]


def test_root_counts_replies_and_names_their_first_five_authors_once(cast: Cast) -> None:
    root = say(cast, "root")
    before = cast.refreshed().last_seq

    for user in (cast.owner, cast.moderator, cast.owner):
        last = reply(cast, root, user)

    root.refresh_from_db()
    summary = replies_body(root)
    assert summary is not None
    assert summary.count == 3
    assert [author.name for author in summary.authors] == ["Owner", "Moderator"]
    assert root.last_reply_seq == last.seq
    assert kinds_after(cast, before) == ["message.created", "thread.changed"] * 3
    event = msgspec.json.decode(events_after(cast.room.pk, before)[-1].frame)
    assert event["message"] == str(root.pk)
    assert event["replies"] == msgspec.to_builtins(summary)


def test_deleted_reply_leaves_the_summary_and_a_deleted_root_keeps_its_thread(cast: Cast) -> None:
    root = say(cast, "root")
    first, second = reply(cast, root, cast.owner), reply(cast, root, cast.moderator)

    services.delete_message(user=cast.owner, message_id=first.pk)
    services.delete_message(user=cast.member, message_id=root.pk)
    third = reply(cast, root, cast.member)

    root.refresh_from_db()
    summary = replies_body(root)
    assert summary is not None
    assert (summary.count, [each.name for each in summary.authors]) == (2, ["Moderator", "Member"])
    assert third.thread_root_id == root.pk
    for message in (second, third):
        services.delete_message(user=cast.moderator, message_id=message.pk)
    root.refresh_from_db()
    assert (replies_body(root), root.last_reply_seq) == (None, None)


def test_deleted_message_without_replies_cannot_be_replied_to(cast: Cast) -> None:
    root = say(cast, "root")
    services.delete_message(user=cast.member, message_id=root.pk)

    with pytest.raises(Conflict):
        reply(cast, root, cast.owner)


def test_thread_of_another_room_is_not_found(cast: Cast) -> None:
    other = services.create_room(user=cast.owner, team_id=cast.team.pk, name="other")
    root = services.post_message(user=cast.owner, room_id=other.pk, text="root").message

    with pytest.raises(NotFound):
        reply(cast, root, cast.owner)
    with pytest.raises(NotFound):
        queries.messages_of(cast.room, str(root.pk))
    with pytest.raises(NotFound):
        services.follow_thread(user=cast.member, message_id=root.pk, on=True)
    assert queries.thread_messages(cast.room.pk, [root.pk, uuid4()], before=10**6) == []


def test_reply_makes_the_room_unread_only_if_it_is_also_sent_to_the_room(cast: Cast) -> None:
    root = say(cast, "root")
    services.mark_read(user=cast.owner, room_id=cast.room.pk, seq=root.seq)

    reply(cast, root, cast.moderator)
    (thread_only,) = count_unread([cast.room.pk], [cast.owner.pk])
    both = reply(cast, root, cast.moderator, also_in_room=True)
    (with_room,) = count_unread([cast.room.pk], [cast.owner.pk])

    assert (thread_only.messages, with_room.messages) == (0, 1)
    assert shown(cast) == [root.pk, both.pk]
    services.delete_message(user=cast.moderator, message_id=both.pk)
    (after,) = count_unread([cast.room.pk], [cast.owner.pk])
    assert after.messages == 0


def test_reply_does_not_mark_the_room_as_read(cast: Cast) -> None:
    root = say(cast, "root")
    say(cast, "unread", cast.owner)

    reply(cast, root, cast.member)

    (unread,) = count_unread([cast.room.pk], [cast.member.pk])
    assert unread.messages == 1


def test_author_replier_and_mentioned_follow_and_have_their_own_unread_counts(cast: Cast) -> None:
    root = say(cast, "root")

    first = reply(cast, root, cast.owner, text="@moderator look")
    second = reply(cast, root, cast.owner)

    assert following(cast, root) == {
        cast.member.pk: (True, first.seq - 1),
        cast.owner.pk: (True, second.seq),
        cast.moderator.pk: (True, first.seq - 1),
    }
    assert threads(cast, cast.member) == [(root.pk, 2)]
    assert threads(cast, cast.owner) == [(root.pk, 0)]
    assert threads(cast, cast.reader) == []
    services.mark_thread_read(user=cast.member, message_id=root.pk, seq=first.seq)
    services.mark_thread_read(user=cast.member, message_id=first.pk, seq=1)
    assert threads(cast, cast.member) == [(root.pk, 1)]


def test_user_who_has_ended_to_follow_is_not_made_to_follow_by_a_mention(cast: Cast) -> None:
    root = say(cast, "root")
    reply(cast, root, cast.owner)
    services.follow_thread(user=cast.member, message_id=root.pk, on=False)

    reply(cast, root, cast.owner, text="@member look")
    ignored = threads(cast, cast.member)
    reply(cast, root, cast.member)

    assert ignored == []
    assert threads(cast, cast.member) == [(root.pk, 0)]


def test_reader_follows_a_thread_from_its_last_reply(cast: Cast) -> None:
    root = say(cast, "root")
    reply(cast, root, cast.owner)

    services.follow_thread(user=cast.reader, message_id=root.pk, on=True)
    services.follow_thread(user=cast.reader, message_id=root.pk, on=True)
    reply(cast, root, cast.owner)

    assert threads(cast, cast.reader) == [(root.pk, 1)]
    assert own_threads.thread_of(cast.reader, root).following


def test_followed_threads_come_unread_first_in_pages(cast: Cast) -> None:
    roots = [say(cast, f"root {number}") for number in range(5)]
    for root in roots:
        reply(cast, root, cast.owner)
    for root in (roots[1], roots[4]):
        services.mark_thread_read(user=cast.member, message_id=root.pk, seq=10**6)
    rows = own_threads.followed_threads(cast.member, cast.team)

    found, cursor = own_threads.page_of_threads(rows, limit=2)
    pages = 1
    while cursor:
        more, cursor = own_threads.page_of_threads(rows, limit=2, cursor=cursor)
        found, pages = [*found, *more], pages + 1

    expected = [roots[number].pk for number in (3, 2, 0, 4, 1)]
    assert [item.message.id for item in found] == expected
    assert pages == 3
    with pytest.raises(Invalid):
        own_threads.page_of_threads(rows, limit=2, cursor="1_x_2")


def test_thread_of_a_room_that_the_user_has_left_is_not_listed(cast: Cast) -> None:
    root = say(cast, "root")
    reply(cast, root, cast.owner)

    services.remove_member(user=cast.owner, room_id=cast.room.pk, member_id=cast.member.pk)

    assert threads(cast, cast.member) == []


def test_answer_to_a_message_of_a_thread_is_in_the_thread(cast: Cast) -> None:
    root = say(cast, "root")
    question = reply(cast, root, cast.member, personas=[cast.persona.pk])
    before = cast.refreshed().last_seq

    job = answer(cast)
    lifecycle.complete(job, "@owner answer", Usage(1, 1))

    assert job.base == before + 3
    assert kinds_after(cast, before)[:3] == ["message.created", "thread.changed", "run.started"]
    written = Message.objects.get(pk=job.message)
    assert (written.thread_root_id, written.in_room) == (root.pk, False)
    assert written.reply_to_id == question.pk
    assert shown(cast) == [root.pk]
    assert following(cast, root)[cast.owner.pk] == (True, written.seq - 1)
    root.refresh_from_db()
    assert root.reply_authors is not None
    assert [each["kind"] for each in root.reply_authors] == ["user", "persona"]


def test_model_gets_the_thread_for_a_message_of_a_thread_and_else_the_room(cast: Cast) -> None:
    root = say(cast, "root")
    say(cast, "room only")
    reply(cast, root, cast.owner, text="thread only")
    reply(cast, root, cast.owner, text="both", also_in_room=True)

    reply(cast, root, cast.member, text="in thread", personas=[cast.persona.pk])
    in_thread = answer(cast)
    lifecycle.complete(in_thread, "done", None)
    say(cast, "in room", personas=[cast.persona.pk])
    in_room = answer(cast)

    texts = [turn.text for turn in in_thread.turns]
    assert texts == ["root", "thread only", "both", "in thread"]
    assert [turn.text for turn in in_room.turns] == ["root", "room only", "both", "in room"]


def test_room_can_have_its_answers_in_threads(cast: Cast) -> None:
    services.update_room(user=cast.owner, room_id=cast.room.pk, answers_in=AnswersIn.THREAD)
    question = say(cast, "question", personas=[cast.persona.pk])

    job = answer(cast)
    services.update_room(user=cast.owner, room_id=cast.room.pk, answers_in=AnswersIn.ROOM)

    written = Message.objects.get(pk=job.message)
    assert (written.thread_root_id, shown(cast)) == (question.pk, [question.pk])
    assert threads(cast, cast.member) == [(question.pk, 1)]


def test_state_has_the_open_threads_after_the_messages_of_the_room(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "PAGE", 2)
    old, new = say(cast, "old"), say(cast, "new")
    replies = [reply(cast, each, cast.owner) for each in (old, new)]
    both = reply(cast, old, cast.owner, also_in_room=True)

    read = read_state(cast.room.pk)
    found = queries.thread_messages(cast.room.pk, [old.pk, new.pk], read.oldest)
    state = msgspec.json.decode(complete_state(read.state, ["view"], found))

    in_room, of_threads = [new.pk, both.pk], [old.pk, *(each.pk for each in replies)]
    assert [UUID(each["id"]) for each in state["messages"]] == [*in_room, *of_threads]
    assert state["permissions"] == ["view"]

    monkeypatch.setattr(queries, "MAX_BYTES", len(replies[1].text + replies[1].html))
    found = queries.thread_messages(cast.room.pk, [old.pk, new.pk], read.oldest)
    assert [each.id for each in found] == [old.pk, replies[1].pk]  # the root, and what fits


def test_settings_page_sets_where_personas_answer(cast: Cast, client: Client) -> None:
    client.force_login(cast.owner)
    form = {"name": "room", "answer_policy": "default", "answers_in": "thread"}

    client.post(reverse("rooms:settings", args=[cast.room.pk]), form)

    assert cast.refreshed().answers_in == AnswersIn.THREAD


def test_permanent_address_of_a_reply_leads_to_its_thread(cast: Cast, client: Client) -> None:
    client.force_login(cast.member)
    root = say(cast, "root")
    hidden, both = reply(cast, root, cast.owner), reply(cast, root, cast.owner, also_in_room=True)

    ways = [
        client.get(reverse("rooms:message", args=[cast.room.pk, each.pk])).headers["Location"]
        for each in (hidden, both)
    ]

    thread = reverse("rooms:thread", args=[cast.room.pk, root.pk])
    assert ways == [
        f"{thread}#thread-message-{hidden.pk}",
        f"{reverse('rooms:room', args=[cast.room.pk])}#message-{both.pk}",
    ]


def test_purge_deletes_threads_with_their_room(cast: Cast) -> None:
    reply(cast, say(cast, "root"), cast.owner)

    services.rooms.empty_room(cast.room.pk)
    Room.objects.filter(pk=cast.room.pk).delete()

    assert not Message.objects.exists()
    assert not ThreadFollower.objects.exists()
