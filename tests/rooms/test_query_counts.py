"""The number of queries of a request for a message, from the credential to the response.

The counts hold on each database: `tests/cluster/stores/test_query_counts.py` repeats these tests on
PostgreSQL, where a lock and a NOTIFY to the workers are queries of their own.
"""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from accounts.services import create_token
from agents.services import create_demo_persona
from rooms import services
from rooms.models import CallState, Question, QuestionAnswer, Room, Run, ToolCall
from rooms.protocol.commands import MessageSend
from rooms.queries import MAX_OPEN, room_state
from rooms.runs.steps import policy
from rooms.runs.steps.open_approvals import recheck_approvals
from rooms.services.questions import recheck_questions
from rooms.socket.dispatch import execute
from tests.rooms.acting import propose, request, set_policy, started, waiting_run
from tests.rooms.asking import make_call, make_question
from tests.rooms.conftest import Cast
from tests.rooms.services.test_personal_calls import MINE

pytestmark = pytest.mark.django_db


def queries(act: Callable[[], object]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        act()
    return [query["sql"] for query in captured if "SAVEPOINT" not in query["sql"]]


def cost(act: Callable[[], object]) -> int:
    return len(queries(act))


@pytest.fixture
def client(cast: Cast) -> Client:
    services.post_message(user=cast.member, room_id=cast.room.pk, text="creates the quota")
    _token, secret = create_token(user=cast.member, name="script")
    return Client(headers={"authorization": f"Bearer {secret}"})


@pytest.mark.parametrize(("is_reply", "most"), [(False, 12), (True, 13)])
def test_post_by_socket_takes_at_most_twelve_queries(
    cast: Cast, most: int, *, is_reply: bool
) -> None:
    """A reply also reads its root, and writes the root's summary and the followers.

    One query is for those to whom the thread becomes unread, so that nothing counts replies.
    """
    posted = services.post_message(user=cast.member, room_id=cast.room.pk, text="creates the quota")
    command = MessageSend(
        ref="1",
        room=cast.room.pk,
        client_id=uuid4(),
        text="hello @reader",
        reply_to=posted.message.pk if is_reply else None,
        personas=None,
    )

    assert cost(lambda: execute(command, cast.member, "en")) <= most


@pytest.mark.parametrize(("is_reply", "most"), [(False, 13), (True, 14)])
def test_post_by_rest_takes_at_most_thirteen_queries(
    cast: Cast, client: Client, most: int, *, is_reply: bool
) -> None:
    """Includes the token, the permission check, a mention and the queued run.

    A reply also reads its root, and writes the root's summary and the followers.
    """
    path = f"/api/v1/rooms/{cast.room.pk}/messages"
    first = client.post(path, {"text": "hello"}, "application/json").json()
    body = {
        "text": "hello @reader",
        "client_id": str(uuid4()),
        "reply_to": first["message"]["id"] if is_reply else None,
    }

    statements = queries(lambda: client.post(path, body, "application/json"))

    assert len(statements) <= most, statements
    assert any("rooms_run" in sql for sql in statements)


def test_cost_of_an_edit_and_a_deletion_does_not_grow_with_the_log(cast: Cast) -> None:
    posted = [
        services.post_message(user=cast.member, room_id=cast.room.pk, text=f"{n}", personas=[])
        for n in range(30)
    ]
    first, last = posted[0].message.pk, posted[-1].message.pk
    for emoji in ("👍", "✅", "👀"):
        services.react(user=cast.owner, message_id=last, emoji=emoji, on=True)

    def edit(message: UUID, text: str) -> int:
        return cost(lambda: services.edit_message(user=cast.member, message_id=message, text=text))

    assert edit(first, "new") == edit(last, "new") <= 10

    def delete(message: UUID) -> int:
        return cost(lambda: services.delete_message(user=cast.member, message_id=message))

    assert delete(first) == delete(last) <= 18


def test_state_has_the_oldest_open_calls_and_costs_no_query_for_each(cast: Cast) -> None:
    posted = services.post_message(user=cast.member, room_id=cast.room.pk, text="plan it")
    Run.objects.update(attempt=1, state="waiting")

    def ask(position: int) -> None:
        call = make_call(posted.runs[0], position)
        question = Question.objects.create(
            call=call, room=cast.room, text=f"{position}", expires_at=timezone.now()
        )
        for user in (cast.owner, cast.member):
            QuestionAnswer.objects.create(question=question, user=user, text=user.handle)
        asked = make_call(posted.runs[0], 1_000 + position)
        asked.state, asked.title = CallState.ASKED, f"{position}"
        asked.save()

    ask(0)
    few = cost(lambda: room_state(cast.room, []))
    for position in range(1, MAX_OPEN + 1):
        ask(position)

    assert cost(lambda: room_state(cast.room, [])) == few
    state = room_state(cast.room, [])
    oldest = [f"{position}" for position in range(MAX_OPEN)]
    assert [question.text for question in state.questions] == oldest
    assert [approval.title for approval in state.approvals] == oldest
    handles = [cast.owner.handle, cast.member.handle]
    assert all([a.text for a in question.answers] == handles for question in state.questions)


def test_list_of_questions_costs_no_query_for_each(cast: Cast, client: Client) -> None:
    run_id = services.post_message(user=cast.member, room_id=cast.room.pk, text="plan it").runs[0]

    def ask(position: int) -> None:
        Question.objects.create(
            call=make_call(run_id, position),
            room=cast.room,
            text=f"{position}",
            asked_of=[str(cast.member.pk)],
            expires_at=timezone.now(),
        )

    def cost_of_list() -> int:
        return cost(lambda: client.get("/api/v1/questions"))

    ask(0)
    few = cost_of_list()
    ask(1)
    ask(2)

    assert cost_of_list() == few
    assert len(client.get("/api/v1/questions").json()["items"]) == 3


def test_questions_that_stay_open_cost_no_query_each(cast: Cast) -> None:
    run_id = services.post_message(user=cast.member, room_id=cast.room.pk, text="plan it").runs[0]

    def recheck(*positions: int) -> int:
        for position in positions:
            question = make_question(run_id, cast.member.pk, cast.owner.pk, position=position)
            QuestionAnswer.objects.create(question=question, user=cast.owner, text="Monday")
        return cost(lambda: recheck_questions(cast.room))

    assert recheck(0) == recheck(1, 2, 3) == 2
    assert Question.objects.filter(state="open").count() == 4


def test_calls_that_go_on_asking_the_same_people_cost_no_query_each(cast: Cast) -> None:
    asked = waiting_run(cast)

    def recheck(*positions: int) -> int:
        for position in positions:
            call = make_call(asked.job.run, position)
            call.state, call.asked_of = CallState.ASKED, asked.row.asked_of
            call.expires_at = timezone.now() + timedelta(hours=1)
            call.save()
        return cost(lambda: recheck_approvals(cast.room))

    assert recheck() == recheck(1, 2, 3)
    assert ToolCall.objects.asked().count() == 4


def test_decisions_for_a_run_cost_no_query_each(cast: Cast) -> None:
    run_id = services.post_message(user=cast.member, room_id=cast.room.pk, text="plan it").runs[0]
    run = Run.objects.get(pk=run_id)

    def held(by: User, *positions: int) -> tuple[int, set[UUID]]:
        for position in positions:
            call = make_call(run_id, position)
            call.tool, call.for_run, call.decided_by = uuid4(), True, by
            call.decided_at = timezone.now()
            call.save()
        tools = {call.tool for call in run.calls.all() if call.tool}
        found = queries(lambda: policy.decided_for_run(cast.room, run, tools, lambda: None))
        return len(found), set(policy.decided_for_run(cast.room, run, tools, lambda: None))

    few, first = held(cast.member, 0)
    many, later = held(cast.moderator, 1, 2)
    most, last = held(cast.reader, 3, 4)  # may not decide

    assert few == many == most
    assert len(first) == 1
    assert len(later) == 3
    assert last == later


def test_personal_calls_of_a_request_cost_no_query_each(cast: Cast) -> None:
    set_policy(cast, MINE, "always")
    job = started(cast)

    few = cost(lambda: propose(job, request(MINE), number=0))

    assert cost(lambda: propose(job, *(request(MINE) for _ in range(4)), number=1)) == few


def test_refused_edit_costs_the_same_as_an_unknown_message(cast: Cast) -> None:
    posted = services.post_message(user=cast.member, room_id=cast.room.pk, text="x", personas=[])

    def refused(message_id: UUID) -> int:
        def act() -> None:
            with pytest.raises(Exception, match="not_found"):
                services.edit_message(user=cast.stranger, message_id=message_id, text="x")

        return cost(act)

    assert refused(posted.message.pk) == refused(uuid4())


def test_list_of_room_members_takes_at_most_four_queries(cast: Cast, client: Client) -> None:
    assert cost(lambda: client.get(f"/api/v1/rooms/{cast.room.pk}/members")) <= 4


def test_cost_of_a_new_room_does_not_grow_and_its_audit_is_last(cast: Cast) -> None:
    second = create_demo_persona(user=cast.owner, team_id=cast.team.pk)
    members = [user.pk for user in (cast.moderator, cast.member, cast.reader)]

    def make(people: list[UUID], personas: list[UUID]) -> list[str]:
        common = {"user": cast.owner, "team_id": cast.team.pk, "name": "new"}
        return queries(lambda: services.create_room(**common, people=people, personas=personas))  # type: ignore[arg-type]  # keyword arguments of create_room

    few = make(members[:1], [cast.persona.pk])
    many = make(members, [second.pk, cast.persona.pk])

    assert len(few) == len(many)
    # A removal locks the team member first and the audit log last; the other order would deadlock.
    assert ["accounts_audit" in sql for sql in many[-3:]] == [False, True, True]
    assert not any("accounts_audit" in sql for sql in many[:-2])
    room = Room.objects.latest("pk")
    assert dict(room.members.values_list("user", "role")) == {
        cast.owner.pk: "owner",
        **dict.fromkeys(members, "member"),
    }
    bound = room.bindings.order_by("pk").values_list("persona", flat=True)
    assert list(bound) == [second.pk, cast.persona.pk]
