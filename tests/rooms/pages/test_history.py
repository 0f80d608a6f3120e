"""The history of a room as data, and the page without a sidebar, for the scripts."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from pytest_django import DjangoAssertNumQueries

from rooms.models import Message
from rooms.pages.views.history import seq_at
from rooms.services import follow_thread, mark_read, post_message
from tests.rooms.conftest import Cast
from tests.rooms.pages.browsing import browser, data_of

pytestmark = pytest.mark.django_db

COUNT = 120
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def messages(cast: Cast) -> list[Message]:
    """COUNT messages of one member, one each day."""
    room = cast.refreshed()
    made = Message.objects.bulk_create(
        Message(
            room=room,
            seq=room.last_seq + 1 + 2 * n,  # other events are between them
            user=cast.member,
            author_kind="user",
            author_name="Member",
            author_handle="member",
            text=str(n),
            html=f"<p>{n}</p>",
            created_at=FIRST + timedelta(days=n),
        )
        for n in range(COUNT)
    )
    room.last_seq = made[-1].seq
    room.message_count = COUNT
    room.save()
    return made


def history(cast: Cast, query: str, status: int = 200) -> Any:
    answer = browser(cast.reader).get(f"/rooms/{cast.room.pk}/history/?{query}")
    assert answer.status_code == status
    return answer.json() if status == 200 else None


def texts(part: Any) -> list[int]:
    return [int(message["text"]) for message in part["messages"]]


def test_parts_of_the_history_join_without_gaps(cast: Cast, messages: list[Message]) -> None:
    newest = history(cast, f"before={messages[-1].seq + 1}")
    older = history(cast, f"before={newest['messages'][0]['seq']}")
    oldest = history(cast, f"before={older['messages'][0]['seq']}")
    later = history(cast, f"after={oldest['messages'][-1]['seq']}")
    last = history(cast, f"after={later['messages'][-1]['seq']}")

    assert texts(oldest) + texts(older) + texts(newest) == list(range(COUNT))
    assert texts(later) + texts(last) == texts(older) + texts(newest)
    assert [part["earlier"] for part in (newest, older, oldest)] == [True, True, False]
    assert [part["later"] for part in (later, last)] == [True, False]
    assert newest["seq"] == messages[-1].seq
    assert [member["name"] for member in newest["members"]] == ["Member"]


def test_jump_to_a_message_a_seq_and_a_time(cast: Cast, messages: list[Message]) -> None:
    expected = list(range(35, 86))

    assert texts(history(cast, f"around={messages[60].pk}")) == expected
    assert texts(history(cast, f"at={messages[60].seq}")) == expected
    assert texts(history(cast, f"at={messages[59].seq + 1}")) == expected
    assert texts(history(cast, "on=2026-03-01T20:00:00%2B09:00")) == list(range(35, 86))
    assert texts(history(cast, "on=2030-01-01T00:00:00Z"))[-1] == COUNT - 1
    assert texts(history(cast, "on=1999-01-01T00:00:00Z"))[0] == 0


@pytest.mark.parametrize(
    "query", ["", "before=", "before=-1", "after=x", "at=9" + "9" * 17, "around=x", "on=2026-03-01"]
)
def test_wrong_queries_are_refused(cast: Cast, query: str) -> None:
    history(cast, query, 400)


def test_messages_of_other_rooms_are_not_found(cast: Cast) -> None:
    history(cast, f"around={uuid4()}", 404)


def test_roots_have_the_unread_replies_of_their_reader(cast: Cast, messages: list[Message]) -> None:
    root = messages[60]
    follow_thread(user=cast.reader, message_id=root.pk, on=True)
    for to, user in ((root, cast.owner), (messages[61], cast.owner), (root, cast.member)):
        post_message(user=user, room_id=cast.room.pk, text="reply", reply_to=to.pk, personas=[])
    query = f"around={root.pk}"

    part = history(cast, query)
    path = f"/api/v1/rooms/{cast.room.pk}/messages?{query}"
    items = browser(cast.reader).get(path).json()["items"]

    assert part["unread"] == {str(root.pk): 2}
    listed = {item["id"]: item["replies"].get("unread") for item in items if item["replies"]}
    assert listed == {str(root.pk): 2, str(messages[61].pk): None}


def test_search_for_a_time_reads_few_rows(
    cast: Cast, messages: list[Message], django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_max_num_queries(9):
        seq = seq_at(cast.room, FIRST + timedelta(days=77))

    assert seq <= messages[77].seq
    assert seq > messages[76].seq


@pytest.mark.parametrize(("unread", "shown"), [(0, 24), (30, 31), (70, 24)])
def test_page_has_a_screen_of_messages_and_the_unread_ones(
    cast: Cast, messages: list[Message], unread: int, shown: int
) -> None:
    mark_read(user=cast.reader, room_id=cast.room.pk, seq=messages[-1 - unread].seq)

    html = browser(cast.reader).get(f"/rooms/{cast.room.pk}/").content.decode()

    newest = [str(message.pk) for message in messages[-shown:]]
    data = data_of(html)["state"]
    assert [message["id"] for message in data["messages"]] == newest
    assert data["messages_complete"] is False
    in_page = html.split("<template", maxsplit=1)[0]
    assert re.findall(r'<article class="message" id="message-([^"]+)"', in_page) == newest


def test_part_of_a_page_has_no_sidebar(cast: Cast) -> None:
    post_message(user=cast.owner, room_id=cast.room.pk, text="hello", client_id=uuid4())
    client = browser(cast.reader)
    address = f"/rooms/{cast.room.pk}/"

    page = client.get(address).content.decode()
    part = client.get(address, headers={"X-Maru-Part": "main"}).content.decode()

    assert '<nav class="sidebar"' in page
    assert '<nav class="sidebar"' not in part
    assert "<script src" not in part
    for here in ("<p>hello</p>", 'id="room-data"', 'id="panel"', f'data-team="{cast.team.pk}"'):
        assert here in page
        assert here in part
