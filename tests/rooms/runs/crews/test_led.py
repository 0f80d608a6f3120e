"""Personas that ask other personas: a run, the runs that it has asked for, and their ends."""

from dataclasses import replace
from functools import partial

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents.engine_types import AnswerFailed, Usage
from agents.models import Persona, PersonaTool
from agents.services import create_demo_persona, update_persona
from rooms import services
from rooms.models import CallState, Message, RoomMode, Run, RunState, Why
from rooms.runs import claims, leases, lifecycle
from rooms.runs.crews import led
from rooms.runs.crews.led import ASK_PERSONA
from rooms.runs.crews.trees import STOPPED
from rooms.runs.prompts import recorder
from rooms.runs.prompts.recorded import requests_of
from rooms.runs.steps import journal
from tests.rooms.acting import LOOK, set_policy
from tests.rooms.conftest import Cast
from tests.rooms.runs.crews.trees import ask, has_tool, lead, request, results, start, state, wait

pytestmark = pytest.mark.django_db


@pytest.fixture
def personas(cast: Cast) -> dict[str, Persona]:
    """Three personas of a room in which `one` leads."""
    update_persona(user=cast.owner, persona_id=cast.persona.pk, handle="one", name="One")
    found = {"one": cast.persona}
    for handle in ("two", "three"):
        persona = create_demo_persona(user=cast.owner, team_id=cast.team.pk)
        found[handle] = update_persona(
            user=cast.owner, persona_id=persona.pk, handle=handle, name=handle.title()
        )
        services.bind_persona(user=cast.owner, room_id=cast.room.pk, persona_id=persona.pk)
    services.update_room(
        user=cast.owner, room_id=cast.room.pk, mode=RoomMode.LED, lead=cast.persona.pk
    )
    return found


@pytest.mark.usefixtures("personas")
def test_lead_waits_for_the_answers_that_it_has_asked_for(cast: Cast) -> None:
    job = lead(cast)
    assert ask(job, "@two", "three") == [None, None]
    wait(job)
    assert state(job) == RunState.WAITING

    two, three = start(), start()
    assert [turn.text for turn in two.turns] == ["question", "What do you think?"]
    assert (two.turns[-1].author, two.turns[-1].kind, two.turns[-1].own) == (
        "One",
        "persona",
        False,
    )
    lifecycle.complete(two, "I am for it.", Usage(3, 4))
    assert state(job) == RunState.WAITING
    lifecycle.complete(three, "I am against it.", Usage(3, 4))

    assert results() == [("done", "I am for it."), ("done", "I am against it.")]
    again = start()
    assert (again.run, again.attempt) == (job.run, 2)
    (past,) = again.past
    assert [call.result.text for call in past.calls if call.result] == [
        "I am for it.",
        "I am against it.",
    ]
    lifecycle.complete(again, "Let me ask. Done.", None)
    assert state(job) == RunState.COMPLETED


@pytest.mark.usefixtures("personas")
def test_answers_for_the_lead_are_replies_in_the_thread_of_its_answer(cast: Cast) -> None:
    job = lead(cast)
    ask(job, "two")
    wait(job)
    child = start()
    lifecycle.complete(child, "I am for it.", None)

    run, reply = Run.objects.get(pk=child.run), Message.objects.get(pk=child.message)
    assert (run.why, run.requested_by, run.message_id) == (Why.LED, cast.member, job.message)
    assert (reply.thread_root_id, reply.in_room) == (job.message, False)
    steps = Message.objects.get(pk=job.message).steps
    assert steps is not None
    assert [(step["tool"], step["state"], step["result"]) for step in steps] == [
        ("ask_persona", "done", "Two")
    ]


@pytest.mark.usefixtures("personas")
def test_answer_that_ends_before_the_lead_waits_is_not_lost(cast: Cast) -> None:
    job = lead(cast)
    ask(job, "two")
    lifecycle.complete(start(), "I am quick.", None)

    wait(job)

    assert (start().run, results()) == (job.run, [("done", "I am quick.")])


@pytest.mark.usefixtures("personas")
def test_failed_answer_is_data_for_the_lead(cast: Cast) -> None:
    job = lead(cast)
    ask(job, "two", "three")
    wait(job)
    failed, stopped = start(), start()

    lifecycle.fail(failed, AnswerFailed("timeout"), "")
    services.cancel_run(user=cast.member, run_id=stopped.run)

    (first, text), (second, sentence) = results()
    assert (first, second, sentence) == ("failed", "failed", STOPPED)
    assert text
    assert start().run == job.run


@pytest.mark.usefixtures("personas")
@pytest.mark.parametrize("is_waiting", [False, True])
def test_stopped_lead_stops_the_answers_that_it_has_asked_for(
    cast: Cast, *, is_waiting: bool
) -> None:
    job = lead(cast)
    ask(job, "two", "three")
    if is_waiting:
        wait(job)
    start()

    services.cancel_run(user=cast.member, run_id=job.run)

    assert not Run.objects.active().exists()
    children = Run.objects.filter(parent_call__run=job.run)
    assert {(run.state, run.stopped_by) for run in children} == {("cancelled", cast.member)}


@pytest.mark.usefixtures("personas")
def test_failed_lead_stops_the_answers_that_it_has_asked_for(cast: Cast) -> None:
    job = lead(cast)
    ask(job, "two")

    lifecycle.fail(job, AnswerFailed("timeout"), "")

    child = Run.objects.get(parent_call__run=job.run)
    assert (child.state, child.stopped_by) == ("cancelled", None)


@pytest.mark.usefixtures("personas")
def test_tree_ends_with_the_right_of_the_person_who_asked(cast: Cast) -> None:
    job = lead(cast)
    ask(job, "two", "three")
    wait(job)
    start()

    services.remove_member(user=cast.owner, room_id=cast.room.pk, member_id=cast.member.pk)

    assert not Run.objects.active().exists()


def test_persona_that_leaves_the_room_fails_as_data(
    cast: Cast, personas: dict[str, Persona]
) -> None:
    job = lead(cast)
    ask(job, "two")
    wait(job)

    services.unbind_persona(user=cast.owner, room_id=cast.room.pk, persona_id=personas["two"].pk)

    assert results()[0][0] == CallState.FAILED
    assert start().run == job.run


@pytest.mark.usefixtures("personas")
def test_persona_with_the_tool_may_ask_in_every_room(cast: Cast) -> None:
    services.update_room(user=cast.owner, room_id=cast.room.pk, mode="each", lead=None)
    assert not has_tool(lead(cast, "@two"))
    PersonaTool.objects.create(
        persona=Persona.objects.get(handle="two"), tool=ASK_PERSONA, policy="always"
    )

    job = lead(cast, "@two")

    assert has_tool(job)
    assert ask(job, "three") == [None]


def test_lead_can_be_chosen_for_one_message(cast: Cast, personas: dict[str, Persona]) -> None:
    services.update_room(user=cast.owner, room_id=cast.room.pk, mode="each", lead=None)

    job = lead(cast, "@three", led_by=personas["two"].pk)

    run = Run.objects.get(pk=job.run)
    assert (run.persona, run.why, run.leads) == (personas["two"], Why.NAMED, True)
    assert ask(job, "three") == [None]


def test_description_names_the_personas_that_can_be_asked(
    cast: Cast, personas: dict[str, Persona]
) -> None:
    personas["three"].grants.all().delete()

    (tool,) = lead(cast).spec.tools

    assert "@two (Two): Guide" in tool.description
    assert "@one" not in tool.description
    assert "@three" not in tool.description


@pytest.mark.usefixtures("personas")
def test_worker_that_dies_after_it_has_asked_does_not_ask_again(cast: Cast) -> None:
    job = lead(cast)
    ask(job, "two")
    Run.objects.filter(pk=job.run).update(lease_until=None)
    leases.reap()

    again = start()
    assert [call.state for call in again.past[0].calls] == ["running"]
    wait(again)
    lifecycle.complete(start(), "I am for it.", None)

    assert [call.state for call in start().past[0].calls] == ["done"]
    assert Run.objects.count() == 2


@pytest.mark.usefixtures("personas")
def test_worker_that_dies_before_the_question_is_queued_asks_again(cast: Cast) -> None:
    job = lead(cast)
    call = request(job, "two")
    journal.propose(job, 0, "", None, [call])
    assert journal.begin(job, call.id) is None
    Run.objects.filter(pk=job.run).update(lease_until=None)
    leases.reap()

    again = start()

    assert [each.state for each in again.past[0].calls] == ["allowed"]
    assert journal.begin(again, call.id) is None
    for _ in range(2):  # a retry after a lost commit
        assert led.ask(again.run, again.owner, again.attempt, call.id, "two") is None
    assert Run.objects.count() == 2


def test_deleted_answer_is_removed_from_the_result_of_the_call(
    cast: Cast, personas: dict[str, Persona]
) -> None:
    job = lead(cast)
    ask(job, "two")
    wait(job)
    child = start()
    lifecycle.complete(child, "CANARY", None)

    services.delete_message(user=cast.moderator, message_id=child.message)

    assert results() == [("done", "")]


@pytest.mark.usefixtures("personas")
def test_ordinary_run_costs_no_query_for_trees(cast: Cast) -> None:
    def cost() -> int:
        services.post_message(user=cast.member, room_id=cast.room.pk, text="@two")
        with CaptureQueriesContext(connection) as queries:
            lifecycle.complete(start(), "answer", None)
        return len(queries)

    cost()
    ordinary = cost()
    services.update_room(user=cast.owner, room_id=cast.room.pk, mode="each", lead=None)
    assert cost() == ordinary


@pytest.mark.usefixtures("personas")
@pytest.mark.parametrize("is_refused", [False, True])
def test_lead_that_is_refused_stops_a_run_of_the_same_start(
    cast: Cast, *, is_refused: bool
) -> None:
    job = lead(cast)
    ask(job, "two")
    Run.objects.filter(pk=job.run).update(lease_until=None)
    leases.reap()
    refused = ["one", "two"] if is_refused else ["one"]
    Persona.objects.filter(handle__in=refused).update(enabled=False)

    claimed = claims.claim("worker", 2)
    jobs = lifecycle.start("worker", claimed)

    assert (len(claimed), jobs, state(job)) == (2, [], RunState.FAILED)
    child = Run.objects.get(parent_call__run=job.run)
    assert (child.state, child.error_code) == (RunState.CANCELLED, "")


@pytest.mark.usefixtures("personas")
def test_record_has_the_question_only_for_readers_who_may_see_the_call(cast: Cast) -> None:
    job = lead(cast)
    ask(job, "two")
    wait(job)
    child = start()
    recorder.record([child])
    run = Run.objects.select_related("answer").get(pk=child.run)

    (seen,) = requests_of(run, partial(services.may_see, cast.member, cast.room, run))
    (hidden,) = requests_of(run, partial(services.may_see, cast.reader, cast.room, run))

    assert seen.messages[-1].content == "[persona One]\nWhat do you think?"
    assert "What do you think?" not in str(hidden)
    assert hidden.messages[-1].removed


@pytest.mark.usefixtures("personas")
def test_tool_of_a_server_with_the_same_name_gets_another_one(cast: Cast) -> None:
    tool = replace(LOOK, name=led.KEY)
    set_policy(cast, tool, "always")

    names = {each.id: each.name for each in lead(cast).spec.tools}

    assert names == {ASK_PERSONA: "ask_persona", tool.id: "ask_persona_2"}
