"""The permanent address of a message, in a browser without scripts."""

import re
from http import HTTPStatus
from uuid import uuid4

import pytest
from django.test import Client

from rooms import queries, services
from rooms.models import Message
from rooms.pages.room import NEWEST
from rooms.queries import BESIDE, MAX_BYTES, PAGE
from tests.rooms.conftest import Cast
from tests.rooms.pages.browsing import ask, data_of, post

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(cast: Cast) -> Client:
    client = Client()
    client.force_login(cast.reader)
    return client


@pytest.fixture
def posted(cast: Cast) -> list[Message]:
    """More messages than the page of the room and the part beside one message show."""
    return [
        services.post_message(
            user=cast.member, room_id=cast.room.pk, text=f"word {n}", personas=[]
        ).message
        for n in range(PAGE + BESIDE + 10)
    ]


def address_of(cast: Cast, message: object) -> str:
    return f"/rooms/{cast.room.pk}/messages/{message}/"


def shown(page: str) -> list[str]:
    return re.findall(r'id="message-([0-9a-f-]{36})"', page)


def test_link_to_a_new_message_leads_to_the_page_of_the_room(
    cast: Cast, client: Client, posted: list[Message]
) -> None:
    newest_shown = posted[-NEWEST]

    answer = client.get(address_of(cast, newest_shown.pk))

    assert answer["Location"] == f"/rooms/{cast.room.pk}/#message-{newest_shown.pk}"


def test_link_to_an_old_message_leads_to_its_surroundings(
    cast: Cast, client: Client, posted: list[Message]
) -> None:
    linked = posted[BESIDE + 5]
    location = client.get(address_of(cast, linked.pk))["Location"]
    assert location == f"/rooms/{cast.room.pk}/?around={linked.pk}#message-{linked.pk}"

    page = client.get(location).content.decode()

    ids = [str(message.pk) for message in posted[5 : 2 * BESIDE + 6]]
    assert shown(page) == ids
    assert f"?before={posted[5].seq}" in page
    assert f"?around={ids[-1]}#message-{ids[-1]}" in page
    assert "data-live" in page
    assert {"linked": str(linked.pk), "later": True}.items() <= data_of(page).items()


def test_queued_answer_is_behind_the_newest_message_only(
    cast: Cast, client: Client, posted: list[Message]
) -> None:
    run = ask(cast)

    newest = client.get(f"/rooms/{cast.room.pk}/").content.decode()
    part = client.get(f"/rooms/{cast.room.pk}/?around={posted[0].pk}").content.decode()

    assert f'id="message-{run.pk}"' in newest
    assert f'id="message-{run.pk}"' not in part
    assert [each["id"] for each in data_of(part)["state"]["runs"]] == [str(run.pk)]


def test_link_leads_to_the_surroundings_if_the_page_ends_at_its_bytes(
    cast: Cast, client: Client, posted: list[Message]
) -> None:
    Message.objects.filter(pk=posted[-2].pk).update(html="x" * MAX_BYTES)

    assert "?around=" in client.get(address_of(cast, posted[-3].pk))["Location"]
    assert "?around=" not in client.get(address_of(cast, posted[-1].pk))["Location"]


def test_link_to_the_first_message_has_no_earlier_part(
    cast: Cast, client: Client, posted: list[Message]
) -> None:
    page = client.get(f"/rooms/{cast.room.pk}/?around={posted[0].pk}").content.decode()

    assert shown(page) == [str(message.pk) for message in posted[: BESIDE + 1]]
    assert re.search(r"data-earlier [^>]*hidden", page)


@pytest.mark.parametrize("unknown", [uuid4(), "not-an-id"])
def test_unknown_message_is_not_found(cast: Cast, client: Client, unknown: object) -> None:
    statuses = {
        client.get(path).status_code
        for path in (address_of(cast, unknown), f"/rooms/{cast.room.pk}/?around={unknown}")
    }

    assert statuses == {HTTPStatus.NOT_FOUND}


def test_deleted_message_keeps_its_address(
    cast: Cast, client: Client, posted: list[Message]
) -> None:
    services.delete_message(user=cast.member, message_id=posted[0].pk)

    page = client.get(address_of(cast, posted[0].pk), follow=True).content.decode()

    assert "This message was deleted." in page
    assert "word 0<" not in page


def test_link_to_a_reply_leads_to_its_thread(
    cast: Cast, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def say(text: str, reply_to: Message | None = None) -> Message:
        return services.post_message(
            user=cast.member,
            room_id=cast.room.pk,
            text=text,
            personas=[],
            reply_to=reply_to.pk if reply_to else None,
        ).message

    root = say("root")
    first, second = say("first", root), say("second", root)
    thread = f"/rooms/{cast.room.pk}/threads/{root.pk}/"
    for reply in (first, second):
        location = client.get(address_of(cast, reply.pk))["Location"]
        assert location == f"{thread}#thread-message-{reply.pk}"

    monkeypatch.setattr(queries, "THREAD_PAGE", 1)
    location = client.get(address_of(cast, first.pk))["Location"]
    assert location == f"{thread}?before={first.seq + 1}#thread-message-{first.pk}"
    assert f'id="thread-message-{first.pk}"' in client.get(location).content.decode()


def test_forms_of_an_answer_in_a_thread_lead_to_the_thread(cast: Cast) -> None:
    root = services.post_message(
        user=cast.member, room_id=cast.room.pk, text="root", personas=[]
    ).message
    posted = services.post_message(
        user=cast.member,
        room_id=cast.room.pk,
        text="question",
        reply_to=root.pk,
        personas=[cast.persona.pk],
    )

    answers = [post(cast.member, form, posted.runs[0]) for form in ("cancel", "retry")]

    thread = f"/rooms/{cast.room.pk}/threads/{root.pk}/"
    assert [answer["Location"] for answer in answers] == [thread, thread]
