"""What the ways to a message cost in queries, from the credential to the answer.

The counts hold on each database: `tests/cluster/stores/test_query_counts.py` repeats these tests on
PostgreSQL, where a lock is a query of its own, and so is the word to the workers.
"""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import TeamMember, User
from accounts.services import create_token
from agents.services import create_demo_persona
from rooms import services
from rooms.models import Room, RoomRole
from rooms.protocol.commands import MessageSend
from rooms.socket.commands import execute
from tests.rooms.conftest import Cast
from tests.rooms.pages.browsing import browser

pytestmark = pytest.mark.django_db


def queries(act: Callable[[], object]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        act()
    return [query["sql"] for query in captured if "SAVEPOINT" not in query["sql"]]


def cost(act: Callable[[], object]) -> int:
    return len(queries(act))


@pytest.fixture
def client(cast: Cast) -> Client:
    services.post_message(user=cast.member, room_id=cast.room.pk, text="the line is made")
    _token, secret = create_token(user=cast.member, name="script")
    return Client(headers={"authorization": f"Bearer {secret}"})


def test_sending_by_socket_takes_at_most_twelve(cast: Cast) -> None:
    said = services.post_message(user=cast.member, room_id=cast.room.pk, text="the line is made")
    command = MessageSend(
        ref="1",
        room=cast.room.pk,
        client_id=uuid4(),
        text="hello @reader",
        reply_to=said.message.pk,
        personas=None,
    )

    assert cost(lambda: execute(command, cast.member, "en")) <= 12


def test_sending_by_rest_takes_at_most_twelve(cast: Cast, client: Client) -> None:
    """With the token, the gate, a mention, what it replies to, and the run that answers."""
    path = f"/api/v1/rooms/{cast.room.pk}/messages"
    first = client.post(path, {"text": "hello"}, "application/json").json()
    wish = {
        "text": "hello @reader",
        "client_id": str(uuid4()),
        "reply_to": first["message"]["id"],
    }

    asked = queries(lambda: client.post(path, wish, "application/json"))

    assert len(asked) <= 12, asked
    assert any("rooms_run" in sql for sql in asked)


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

    assert edit(first, "new") == edit(last, "new") <= 8

    def delete(message: UUID) -> int:
        return cost(lambda: services.delete_message(user=cast.member, message_id=message))

    assert delete(first) == delete(last) <= 14


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


def test_room_costs_the_same_whoever_is_in_it_and_its_log_comes_last(cast: Cast) -> None:
    second = create_demo_persona(user=cast.owner, team_id=cast.team.pk)
    everybody = [user.pk for user in (cast.moderator, cast.member, cast.reader)]

    def make(people: list[UUID], personas: list[UUID]) -> list[str]:
        here = {"user": cast.owner, "team_id": cast.team.pk, "name": "new"}
        return queries(lambda: services.create_room(**here, people=people, personas=personas))  # type: ignore[arg-type]  # as named

    few = make(everybody[:1], [cast.persona.pk])
    many = make(everybody, [second.pk, cast.persona.pk])

    assert len(few) == len(many)
    # Who removes somebody holds the seat and waits for the log: the other order would be a knot.
    assert ["accounts_audit" in sql for sql in many[-3:]] == [False, True, True]
    assert not any("accounts_audit" in sql for sql in many[:-2])
    room = Room.objects.latest("pk")
    assert dict(room.members.values_list("user", "role")) == {
        cast.owner.pk: "owner",
        **dict.fromkeys(everybody, "member"),
    }
    bound = room.bindings.order_by("pk").values_list("persona", flat=True)
    assert list(bound) == [second.pk, cast.persona.pk]
