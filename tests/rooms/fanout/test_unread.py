"""Unread counts are arithmetic: they equal a count of the messages, and read none of them."""

import random
import sqlite3
from collections.abc import Callable
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import TeamRole, User
from accounts.services.teams import add_team_member
from rooms import services
from rooms.fanout import unread
from rooms.fanout.unread import count_unread
from rooms.models import Message, Room, RoomMember
from rooms.runs import lifecycle
from tests.rooms.claiming import claim_and_start
from tests.rooms.conftest import Cast, make_user

pytestmark = pytest.mark.django_db


def counted(cast: Cast, user: User) -> tuple[int, int]:
    (found,) = count_unread([cast.room.pk], [user.pk])
    return found.messages, found.mentions


def by_definition(cast: Cast, user: User) -> tuple[int, int]:
    """Count the messages of others after the read position, and those with a chip of the user."""
    read = RoomMember.objects.get(room=cast.room, user=user).read_seq
    new = Message.objects.filter(room=cast.room, seq__gt=read, deleted_at=None)
    texts = list(new.exclude(user=user).values_list("html", flat=True))
    chip = f'class="mention" data-handle="{user.handle}"'
    return len(texts), sum(chip in html for html in texts)


def post(cast: Cast, author: User, text: str) -> Message:
    posted = services.post_message(user=author, room_id=cast.room.pk, text=text, personas=[])
    return posted.message


def members(cast: Cast) -> list[User]:
    return [cast.owner, cast.moderator, cast.member, cast.reader]


def act_at_random(cast: Cast, chance: random.Random) -> None:
    """Post, edit, delete or read as a random member."""
    authors = [cast.owner, cast.moderator, cast.member]
    handles = [*(user.handle for user in members(cast)), cast.persona.handle, "nobody-here"]
    text = f"hello @{chance.choice(handles)} and @{chance.choice(handles)}"
    own = list(Message.objects.filter(room=cast.room, deleted_at=None, user__isnull=False))
    match chance.choice(["post", "post", "edit", "delete", "read"]):
        case "edit" if own:
            message = chance.choice(own)
            assert message.user is not None
            services.edit_message(user=message.user, message_id=message.pk, text=text)
        case "delete" if own:
            services.delete_message(user=cast.owner, message_id=chance.choice(own).pk)
        case "read":
            seq = chance.randint(0, cast.refreshed().last_seq + 2)
            services.mark_read(user=chance.choice(members(cast)), room_id=cast.room.pk, seq=seq)
        case _:
            post(cast, chance.choice(authors), text)


@pytest.mark.parametrize("seed", range(3))
def test_counts_equal_a_count_of_the_messages_after_every_change(cast: Cast, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(40):
        act_at_random(cast, chance)

        for user in members(cast):
            assert counted(cast, user) == by_definition(cast, user)


def test_answers_are_unread_and_their_mentions_are_counted(cast: Cast) -> None:
    question = services.post_message(user=cast.member, room_id=cast.room.pk, text="@bot hello")
    claimed = claim_and_start("worker")
    assert claimed is not None
    assert claimed[1] is not None
    assert counted(cast, cast.member) == (1, 0)

    lifecycle.complete(claimed[1], f"@{cast.member.handle} and @{cast.reader.handle}", None)

    assert question.message.user == cast.member
    assert counted(cast, cast.member) == by_definition(cast, cast.member) == (1, 1)
    assert counted(cast, cast.reader) == by_definition(cast, cast.reader) == (2, 1)


def test_counts_are_limited(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(8):
        post(cast, cast.owner, f"@{cast.member.handle}")
    monkeypatch.setattr(unread, "COUNT_LIMIT", 3)

    assert counted(cast, cast.member) == (3, 3)
    services.mark_read(user=cast.member, room_id=cast.room.pk, seq=1)
    assert counted(cast, cast.member) == (3, 3)
    last = cast.refreshed().last_seq
    services.mark_read(user=cast.member, room_id=cast.room.pk, seq=last - 1)
    assert counted(cast, cast.member) == (1, 1)


def test_new_member_has_read_everything(cast: Cast) -> None:
    post(cast, cast.owner, f"hello @{cast.reader.handle}")
    services.remove_member(user=cast.owner, room_id=cast.room.pk, member_id=cast.reader.pk)
    services.add_members(cast.refreshed(), [cast.reader], "member")

    assert counted(cast, cast.reader) == (0, 0)


def steps(act: Callable[[], object]) -> int:
    """Return the number of steps that SQLite's virtual machine takes, in hundreds."""
    taken = 0

    def count() -> None:
        nonlocal taken
        taken += 1

    connection.ensure_connection()
    database = connection.connection
    assert isinstance(database, sqlite3.Connection)
    database.set_progress_handler(count, 100)
    try:
        act()
    finally:
        database.set_progress_handler(None, 0)
    return taken


def crowd(cast: Cast, count: int) -> list[UUID]:
    people = [make_user(f"Person{number}") for number in range(count)]
    for person in people:
        add_team_member(cast.team, person, TeamRole.MEMBER)
    services.add_members(cast.refreshed(), people, "member")
    return [user.pk for user in people]


def fill(cast: Cast, count: int) -> None:
    """Add messages of the owner, as `post_message` does."""
    room = cast.refreshed()
    Message.objects.bulk_create(
        Message(room=room, seq=room.last_seq + n + 1, user=cast.owner, html="x" * 500)
        for n in range(count)
    )
    Room.objects.filter(pk=room.pk).update(
        last_seq=room.last_seq + count, message_count=room.message_count + count
    )


def test_one_query_counts_for_all_members_and_reads_no_message(cast: Cast) -> None:
    people = crowd(cast, 30)

    def ask() -> set[int]:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            found = count_unread([cast.room.pk], people)
        assert len(captured) == 1
        return {each.messages for each in found}

    fill(cast, 10)
    assert ask() == {10}
    few = steps(ask)
    fill(cast, 900)
    assert ask() == {910}
    many = steps(ask)

    assert many <= few * 1.02 + 1
