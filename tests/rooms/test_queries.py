"""What the ways to a message cost in queries, from the credential to the answer."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import TeamMember, User
from accounts.services import make_token
from rooms import services
from rooms.commands import carry_out
from rooms.events import MessageSend
from rooms.models import RoomRole
from tests.rooms.browsing import browser
from tests.rooms.conftest import Cast

pytestmark = pytest.mark.django_db


def cost(act: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as captured:
        act()
    return len([q for q in captured if "SAVEPOINT" not in q["sql"]])


@pytest.fixture
def client(cast: Cast) -> Client:
    services.post_message(user=cast.member, room_id=cast.room.pk, text="the line is made")
    _token, secret = make_token(user=cast.member, name="script")
    return Client(headers={"authorization": f"Bearer {secret}"})


def test_sending_by_socket_takes_at_most_twelve(cast: Cast) -> None:
    services.post_message(user=cast.member, room_id=cast.room.pk, text="the line is made")
    command = MessageSend(
        ref="1",
        room=cast.room.pk,
        client_id=uuid4(),
        text="hello @reader",
        reply_to=None,
        personas=None,
    )

    assert cost(lambda: carry_out(command, cast.member, "en")) <= 12


def test_sending_by_rest_takes_at_most_twelve(cast: Cast, client: Client) -> None:
    """With the token, the gate, a mention and the run that answers."""
    path = f"/api/v1/rooms/{cast.room.pk}/messages"

    assert cost(lambda: client.post(path, {"text": "hello @reader"}, "application/json")) <= 12


def test_message_costs_the_same_whatever_the_log_holds(cast: Cast) -> None:
    said = [
        services.post_message(user=cast.member, room_id=cast.room.pk, text=f"{n}", personas=[])
        for n in range(30)
    ]
    first, last = said[0].message.pk, said[-1].message.pk
    for emoji in ("👍", "✅", "👀"):
        services.react(user=cast.owner, message_id=last, emoji=emoji, on=True)

    def edit(message: UUID, text: str) -> int:
        return cost(lambda: services.edit_message(user=cast.member, message_id=message, text=text))

    assert edit(first, "new") == edit(last, "new") <= 7

    def delete(message: UUID) -> int:
        return cost(lambda: services.delete_message(user=cast.member, message_id=message))

    assert delete(first) == delete(last) <= 13


def test_refused_edit_costs_a_stranger_what_an_unknown_message_does(cast: Cast) -> None:
    said = services.post_message(user=cast.member, room_id=cast.room.pk, text="x", personas=[])

    def refused(message_id: UUID) -> int:
        def act() -> None:
            with pytest.raises(Exception, match="not_found"):
                services.edit_message(user=cast.stranger, message_id=message_id, text="x")

        return cost(act)

    assert refused(said.message.pk) == refused(uuid4())


@pytest.mark.parametrize(("name", "of"), [("rooms:settings", "room"), ("accounts:people", "team")])
def test_people_of_a_thousand_are_shown_in_ten(cast: Cast, name: str, of: str) -> None:
    people = User.objects.bulk_create(
        User(name=f"Person {n}", email=f"p{n}@example.com", handle=f"p{n}") for n in range(1_000)
    )
    TeamMember.objects.bulk_create(TeamMember(team=cast.team, user=user) for user in people)
    services.add_members(cast.refreshed(), people, RoomRole.MEMBER)
    client = browser(cast.owner)
    address = reverse(name, args=[getattr(cast, of).pk])
    client.get(address)

    assert cost(lambda: client.get(address)) <= 10
    assert client.get(address).content.decode().count("Person ") >= 1_000


def test_members_of_a_room_are_listed_in_four(cast: Cast, client: Client) -> None:
    assert cost(lambda: client.get(f"/api/v1/rooms/{cast.room.pk}/members")) <= 4
