"""Questions of personas to people: asked, answered, closed, expired and withdrawn."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import async_to_sync
from django.utils import timezone

from accounts.errors import Conflict, Forbidden, Invalid, NotFound, TooLarge
from agents.tool_types import MAX_RESULT, ToolResult
from rooms import services
from rooms.event_log import events_after
from rooms.models import (
    CallState,
    Message,
    Question,
    QuestionState,
    RoomPermission,
    Run,
    RunState,
    ToolCall,
)
from rooms.permissions import set_room_role
from rooms.runs import leases, lifecycle
from rooms.runs.lifecycle import Job
from rooms.runs.queue import LEASE
from rooms.runs.steps import calls, open_questions, waiting
from rooms.runs.steps.ask_people import ask_people
from rooms.services.questions import questions_for
from rooms.services.runs import fail_unauthorized_runs_of
from tests.rooms.asking import make_call
from tests.rooms.claiming import claim_and_start
from tests.rooms.conftest import Cast, add_people

pytestmark = pytest.mark.django_db(transaction=True)

ASKED: dict[str, Any] = {"question": "Which day?", "choices": ["Monday", "Friday"], "to": "room"}


def start(cast: Cast) -> Job:
    services.post_message(user=cast.member, room_id=cast.room.pk, text="plan it")
    return take()


def take(owner: str = "worker") -> Job:
    claimed = claim_and_start(owner)
    assert claimed is not None
    assert claimed[1] is not None
    return claimed[1]


def begin_call(job: Job, position: int = 0) -> ToolCall:
    """Store and show a running call, as the journal does before it calls the function."""
    call = make_call(job.run, position)
    calls.show(call.run, [call])
    return call


def ask(job: Job, call: ToolCall, **arguments: object) -> ToolResult | None:
    return async_to_sync(ask_people)(job, str(call.pk), ASKED | arguments)


def asked(cast: Cast, **arguments: object) -> tuple[Job, Question]:
    """Return a waiting run, and its question, which is for the room."""
    job = start(cast)
    call = begin_call(job)
    assert ask(job, call, **arguments) is None
    waiting.wait(job, "I need to ask.", None)
    return job, Question.objects.get(pk=call.pk)


def events(cast: Cast, last: int) -> list[dict[str, Any]]:
    return [json.loads(event.frame) for event in events_after(cast.room.pk, 0)[-last:]]


def result_of(question: Question) -> dict[str, Any]:
    call = ToolCall.objects.get(pk=question.pk)
    assert call.state == CallState.DONE
    result: dict[str, Any] = json.loads(call.result)
    return result


def answer(cast: Cast, question: Question, name: str, **said: str) -> Question:
    user = getattr(cast, name)
    return services.answer_question(user=user, question_id=question.pk, **said)


def test_question_to_the_room_names_those_who_may_post_the_asker_first(cast: Cast) -> None:
    job, question = asked(cast)

    assert question.asked_of == [str(u.pk) for u in (cast.member, cast.owner, cast.moderator)]
    kinds = [event["type"] for event in events(cast, 3)]
    assert kinds == ["question.asked", "message.updated", "run.waiting"]
    body = events(cast, 3)[0]["question"]
    assert (body["text"], body["choices"]) == ("Which day?", ["Monday", "Friday"])
    assert (body["message"], body["state"], body["answers"]) == (str(job.message), "open", [])
    assert Run.objects.get(pk=job.run).state == RunState.WAITING


def test_run_goes_on_when_all_have_answered(cast: Cast) -> None:
    job, question = asked(cast)

    answer(cast, question, "owner", choice="Friday")
    answer(cast, question, "moderator", text=' Not "Monday", please\n')
    open_until_now = Run.objects.get(pk=job.run).state
    answer(cast, question, "member", choice="Friday")

    assert open_until_now == RunState.WAITING
    assert result_of(question) == {
        "answers": [
            {"person": f"Owner (@{cast.owner.handle})", "answer": "Friday"},
            {"person": f"Moderator (@{cast.moderator.handle})", "answer": 'Not "Monday", please'},
            {"person": f"Member (@{cast.member.handle})", "answer": "Friday"},
        ]
    }
    kinds = [event["type"] for event in events(cast, 3)]
    assert kinds == ["question.answered", "message.updated", "run.queued"]
    again = take()
    (past,) = again.past
    assert [(call.state, call.request.id) for call in past.calls] == [("done", question.pk)]
    steps = Message.objects.get(pk=job.message).steps or []
    (step,) = steps
    assert (step["state"], step["result"]) == ("done", "3 answers")


def test_answer_of_the_asker_alone_continues_the_run(cast: Cast) -> None:
    job, question = asked(cast, to="asker", choices=None)
    assert question.asked_of == [str(cast.member.pk)]

    answer(cast, question, "member", text="Friday")

    assert Run.objects.get(pk=job.run).state == RunState.QUEUED


def test_each_person_who_is_asked_answers_once(cast: Cast) -> None:
    _job, question = asked(cast, to="asker")

    for name, error in (("stranger", NotFound), ("reader", Forbidden), ("owner", Forbidden)):
        with pytest.raises(error):
            answer(cast, question, name, choice="Friday")
    answer(cast, question, "member", choice="Friday")
    with pytest.raises(Conflict):
        answer(cast, question, "member", choice="Monday")

    assert [each.text for each in question.answers.all()] == ["Friday"]


def test_question_has_no_characters_that_people_miss(cast: Cast) -> None:
    hidden, same = "Mon\u2066day\U000e0041", "Monday\x00"

    _job, question = asked(cast, question="Which \u202eday?", choices=[hidden, same, "Friday"])

    assert (question.text, question.choices) == ("Which day?", ["Monday", "Friday"])


def test_second_answer_to_an_open_question_is_refused(cast: Cast) -> None:
    _job, question = asked(cast)

    answer(cast, question, "member", choice="Friday")
    with pytest.raises(Conflict):
        answer(cast, question, "member", choice="Friday")


def test_answers_are_checked(cast: Cast) -> None:
    _job, question = asked(cast)

    for said, error in (
        ({}, Invalid),
        ({"choice": "Sunday"}, Invalid),
        ({"choice": "Friday", "text": "Friday"}, Invalid),
        ({"text": " "}, Invalid),
        ({"text": "a" * 2_001}, TooLarge),
    ):
        with pytest.raises(error):
            answer(cast, question, "member", **said)


def test_asker_and_moderators_close_a_question(cast: Cast) -> None:
    job, question = asked(cast)
    answer(cast, question, "owner", choice="Friday")

    set_room_role([cast.reader], cast.room, "member")
    with pytest.raises(Forbidden):
        services.close_question(user=cast.reader, question_id=question.pk)
    services.close_question(user=cast.member, question_id=question.pk)
    with pytest.raises(Conflict):
        services.close_question(user=cast.moderator, question_id=question.pk)
    with pytest.raises(Conflict):
        answer(cast, question, "moderator", choice="Friday")

    assert result_of(question)["people_without_an_answer"] == 2
    assert Run.objects.get(pk=job.run).state == RunState.QUEUED


def test_question_expires_with_the_answers_so_far(cast: Cast) -> None:
    job, question = asked(cast)
    answer(cast, question, "owner", choice="Friday")
    waiting.expire()
    Question.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    waiting.expire()

    assert result_of(question)["because"] == open_questions.ENDINGS["expired"]
    assert events(cast, 3)[0]["question"]["state"] == "expired"
    assert Run.objects.get(pk=job.run).state == RunState.QUEUED


@pytest.mark.parametrize("is_waiting", [True, False])
def test_stop_withdraws_the_question(cast: Cast, is_waiting: bool) -> None:  # noqa: FBT001
    job = start(cast)
    call = begin_call(job)
    ask(job, call)
    if is_waiting:
        waiting.wait(job, "", None)

    services.cancel_run(user=cast.member, run_id=job.run)

    question = Question.objects.get(pk=call.pk)
    assert question.state == QuestionState.WITHDRAWN
    withdrawn = [e for e in events(cast, 4) if e["type"] == "question.answered"]
    assert [event["question"]["state"] for event in withdrawn] == ["withdrawn"]
    with pytest.raises(Conflict):
        answer(cast, question, "member", choice="Friday")


def test_deletion_of_the_answer_withdraws_and_erases_the_question(cast: Cast) -> None:
    job, question = asked(cast, question="CANARY?", choices=["CANARY"])
    answer(cast, question, "owner", text="CANARY")

    services.delete_message(user=cast.moderator, message_id=job.message)

    question.refresh_from_db()
    assert (question.text, question.choices, question.state) == ("", [], QuestionState.WITHDRAWN)
    assert question.answers.get().text == ""
    assert not any(b"CANARY" in event.frame for event in events_after(cast.room.pk, 0))


def test_removal_of_the_asker_withdraws_the_question(cast: Cast) -> None:
    job, question = asked(cast)

    services.remove_member(user=cast.owner, room_id=cast.room.pk, member_id=cast.member.pk)

    question.refresh_from_db()
    assert question.state == QuestionState.WITHDRAWN
    assert Run.objects.get(pk=job.run).state == RunState.FAILED


@pytest.mark.parametrize("role", [None, "reader"])
def test_question_does_not_wait_for_members_who_may_not_post(cast: Cast, role: str | None) -> None:
    job, question = asked(cast)
    for name in ("owner", "member"):
        answer(cast, question, name, choice="Friday")

    if role is None:
        services.remove_member(user=cast.owner, room_id=cast.room.pk, member_id=cast.moderator.pk)
    else:
        services.put_member(
            user=cast.owner, room_id=cast.room.pk, member_id=cast.moderator.pk, role=role
        )

    assert len(result_of(question)["answers"]) == 2
    assert Run.objects.get(pk=job.run).state == RunState.QUEUED
    with pytest.raises(NotFound if role is None else Forbidden):
        answer(cast, question, "moderator", choice="Friday")


def test_persona_asks_at_most_three_questions_in_a_run(cast: Cast) -> None:
    job = start(cast)

    results = [ask(job, begin_call(job, position)) for position in range(4)]

    assert results[:3] == [None] * 3
    assert results[3] is not None
    assert results[3].failed


def test_repeated_call_of_the_function_asks_once(cast: Cast) -> None:
    job = start(cast)
    call = begin_call(job)

    assert ask(job, call) is None
    assert ask(job, call) is None

    assert [e["type"] for e in events(cast, 2)].count("question.asked") == 1


def test_question_survives_the_death_of_the_worker(cast: Cast) -> None:
    job = start(cast)
    call = begin_call(job)
    ask(job, call)
    Run.objects.update(lease_until=timezone.now() - LEASE)
    leases.reap()

    (past,) = take("successor").past

    assert [each.state for each in past.calls] == ["running"]
    assert Question.objects.get(pk=call.pk).state == QuestionState.OPEN


def test_answer_during_the_attempt_that_asks_is_kept(cast: Cast) -> None:
    job = start(cast)
    call = begin_call(job)
    ask(job, call, to="asker")
    answer(cast, Question.objects.get(pk=call.pk), "member", choice="Friday")

    waiting.wait(job, "", None)

    assert Run.objects.get(pk=job.run).state == RunState.QUEUED


def test_many_long_answers_fit_into_the_result(cast: Cast) -> None:
    add_people(cast, 60)
    job, question = asked(cast)
    members = {member.user_id: member.user for member in cast.room.members.select_related("user")}

    for user_id in question.asked_of:
        services.answer_question(
            user=members[UUID(user_id)], question_id=question.pk, text='"' * 2_000
        )

    assert len(question.asked_of) == open_questions.MAX_ASKED
    result = result_of(question)
    assert len(result["answers"]) == open_questions.MAX_ASKED
    assert len(ToolCall.objects.get(pk=question.pk).result) <= MAX_RESULT
    assert Run.objects.get(pk=job.run).state == RunState.QUEUED


def test_only_people_who_are_asked_and_have_not_answered_find_the_question(cast: Cast) -> None:
    _job, question = asked(cast)
    answer(cast, question, "owner", choice="Friday")

    found = {
        name: [each.pk for each in questions_for(getattr(cast, name))]
        for name in ("owner", "member", "moderator", "reader", "stranger")
    }

    mine, none = [question.pk], []  # type: ignore[var-annotated]
    assert found == {
        "owner": none,
        "member": mine,
        "moderator": mine,
        "reader": none,
        "stranger": none,
    }


def test_question_is_listed_only_while_the_user_may_answer(cast: Cast) -> None:
    asked(cast)
    people = (cast.owner, cast.moderator, cast.member)

    services.put_member(
        user=cast.owner, room_id=cast.room.pk, member_id=cast.moderator.pk, role="reader"
    )
    cast.member.scope = replace(cast.member.scope, team_id=uuid4())  # the token of another team

    assert [questions_for(user).exists() for user in people] == [True, False, False]


def test_question_of_an_unknown_call_is_not_found(cast: Cast) -> None:
    with pytest.raises(NotFound):
        services.answer_question(user=cast.member, question_id=uuid4(), text="yes")
    job = start(cast)
    call = begin_call(job)  # a call of another tool
    with pytest.raises(NotFound):
        services.answer_question(user=cast.member, question_id=call.pk, text="yes")
    assert lifecycle.complete(job, "done", None)


def test_last_answer_of_those_who_may_post_ends_the_question(cast: Cast) -> None:
    job, question = asked(cast)
    RoomPermission.objects.filter(user_id=cast.moderator.pk).delete()

    answer(cast, question, "owner", choice="Friday")
    until_now = Run.objects.get(pk=job.run).state
    answer(cast, question, "member", choice="Friday")

    assert until_now == RunState.WAITING
    assert len(result_of(question)["answers"]) == 2
    assert Run.objects.get(pk=job.run).state == RunState.QUEUED


def test_question_does_not_wait_for_members_whom_the_team_keeps_out(cast: Cast) -> None:
    job, question = asked(cast)
    for name in ("owner", "member"):
        answer(cast, question, name, choice="Friday")

    fail_unauthorized_runs_of(askers=[cast.moderator], teams=[cast.team.pk])
    until_now = Run.objects.get(pk=job.run).state
    RoomPermission.objects.filter(user_id=cast.moderator.pk).delete()
    fail_unauthorized_runs_of(askers=[cast.moderator], teams=[cast.team.pk])

    assert until_now == RunState.WAITING
    assert Run.objects.get(pk=job.run).state == RunState.QUEUED
