"""Personas that ask other personas: a run, the runs that it has asked for, and their ends."""

import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.ids import new_id
from agents.engine_types import AnswerFailed, Usage
from agents.models import Persona, PersonaTool
from agents.services import create_demo_persona, set_persona_enabled, update_persona
from agents.tool_types import CallRequest, ToolResult
from rooms import services
from rooms.models import CallState, Message, RoomMode, Run, RunState, ToolCall, Why
from rooms.runs import leases, lifecycle
from rooms.runs.crews import led
from rooms.runs.crews.led import ASK_PERSONA, MAX_ASKED
from rooms.runs.crews.trees import STOPPED
from rooms.runs.lifecycle import Job
from rooms.runs.steps import journal, waiting
from tests.rooms.claiming import claim_and_start
from tests.rooms.conftest import Cast

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


def start() -> Job:
    taken = claim_and_start("worker")
    assert taken is not None
    assert taken[1] is not None
    return taken[1]


def lead(cast: Cast, text: str = "question", **options: Any) -> Job:
    services.post_message(user=cast.member, room_id=cast.room.pk, text=text, **options)
    return start()


def has_tool(job: Job) -> bool:
    return ASK_PERSONA in [tool.id for tool in job.spec.tools]


def request(job: Job, handle: str, question: str = "What do you think?") -> CallRequest:
    spec = next((tool for tool in job.spec.tools if tool.id == ASK_PERSONA), None)
    arguments = json.dumps({"persona": handle, "question": question})
    return CallRequest(new_id(), "call", led.KEY, arguments, spec)


def ask(job: Job, *handles: str, number: int = 0) -> list[ToolResult | None]:
    """Do what the engine does with one request that calls `ask_persona` for each handle."""
    calls = [request(job, handle) for handle in handles]
    states = journal.propose(job, number, "Let me ask. ", (10, 20), calls)
    assert states == ["allowed"] * len(calls)
    results = []
    for call, handle in zip(calls, handles, strict=True):
        assert journal.begin(job, call.id)
        result = led.ask(job.run, job.owner, job.attempt, call.id, handle)
        if result is not None:
            journal.finish(job, call.id, result, 1)
        results.append(result)
    return results


def wait(job: Job) -> None:
    waiting.wait(job, "Let me ask. ", None)


def state(job: Job) -> str:
    return Run.objects.get(pk=job.run).state


def results() -> list[tuple[str, str]]:
    calls = ToolCall.objects.order_by("request", "position")
    return [(call.state, call.result) for call in calls]


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


def test_only_personas_that_the_asker_may_use_can_be_asked(
    cast: Cast, personas: dict[str, Persona]
) -> None:
    personas["two"].grants.all().delete()
    foreign = create_demo_persona(
        user=cast.stranger, team_id=cast.stranger.memberships.get().team_id
    )
    outside = create_demo_persona(user=cast.owner, team_id=cast.team.pk)
    job = lead(cast)

    found = ask(job, "two", foreign.handle + "x", outside.handle, "one", "nobody at all")

    assert [result.text for result in found if result] == [
        *[led.NOT_FOUND] * 3,
        led.ITSELF,
        led.NOT_FOUND,
    ]
    set_persona_enabled(user=cast.owner, persona_id=personas["three"].pk, enabled=False)
    (off,) = ask(job, "three", number=1)
    assert off == ToolResult(led.NOT_FOUND, failed=True)
    assert Run.objects.count() == 1


@pytest.mark.usefixtures("personas")
def test_persona_that_was_asked_cannot_ask_others(cast: Cast) -> None:
    PersonaTool.objects.create(
        persona=Persona.objects.get(handle="two"), tool=ASK_PERSONA, policy="always"
    )
    job = lead(cast)
    ask(job, "two")
    wait(job)
    child = start()

    assert has_tool(job)
    assert not has_tool(child)
    call = request(job, "three")
    assert journal.propose(child, 0, "", None, [call]) == ["denied"]


@pytest.mark.usefixtures("personas")
def test_number_of_questions_is_limited(cast: Cast, settings: Settings) -> None:
    settings.ANSWERS_PER_MESSAGE = 100
    job = lead(cast)
    assert ask(job, *["two"] * MAX_ASKED) == [None] * MAX_ASKED

    (refused,) = ask(job, "three", number=1)

    assert refused == ToolResult(led.TOO_MANY, failed=True)


@pytest.mark.usefixtures("personas")
def test_number_of_requests_that_ask_is_limited(cast: Cast) -> None:
    job = lead(cast)
    for number in range(3):
        assert ask(job, "two", number=number) == [None]

    (refused,) = ask(job, "three", number=3)

    assert refused == ToolResult(led.TOO_MANY, failed=True)


@pytest.mark.usefixtures("personas")
def test_all_answers_to_a_message_have_one_limit(cast: Cast, settings: Settings) -> None:
    settings.ANSWERS_PER_MESSAGE = 3
    services.update_room(user=cast.owner, room_id=cast.room.pk, persona_turns=10)
    job = lead(cast)
    assert ask(job, "two", "two", "two")[-1] == ToolResult(led.TOO_MANY, failed=True)
    wait(job)
    lifecycle.complete(start(), "@three, go on", None)  # begins no chain
    lifecycle.complete(start(), "", None)

    lifecycle.complete(start(), "@two and @three?", None)

    assert Run.objects.count() == 3
    assert Message.objects.get(pk=job.message).capped_at == 3


@pytest.mark.usefixtures("personas")
def test_two_personas_that_ask_each_other_stay_within_the_limits(cast: Cast) -> None:
    """Each has the tool, mentions the other, and the room allows chains."""
    for persona in Persona.objects.filter(handle__in=["one", "two"]):
        PersonaTool.objects.create(persona=persona, tool=ASK_PERSONA, policy="always")
    services.update_room(user=cast.owner, room_id=cast.room.pk, mode="each", persona_turns=10)
    services.post_message(user=cast.member, room_id=cast.room.pk, text="@one")

    attempts = 0
    while (taken := claim_and_start("worker")) is not None and attempts < 50:
        attempts += 1
        job = taken[1]
        assert job is not None
        other = "two" if job.spec.handle == "one" else "one"
        if has_tool(job) and not job.past and ask(job, other) == [None]:
            wait(job)
            continue
        lifecycle.complete(job, f"@{other}, what do you say?", None)

    assert 1 < Run.objects.count() <= 8
    assert not Run.objects.active().exists()


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
    assert journal.begin(job, call.id)
    Run.objects.filter(pk=job.run).update(lease_until=None)
    leases.reap()

    again = start()

    assert [each.state for each in again.past[0].calls] == ["allowed"]
    assert journal.begin(again, call.id)
    for _ in range(2):  # a retry after a lost commit
        assert led.ask(again.run, again.owner, again.attempt, call.id, "two") is None
    assert Run.objects.count() == 2


@pytest.mark.usefixtures("personas")
def test_tree_has_one_budget(cast: Cast) -> None:
    job = lead(cast)
    assert job.spent.tokens == 0
    ask(job, "two", "three")
    wait(job)
    two, three = start(), start()
    assert (two.spent.tokens, two.spent.share) == (20, 2)
    lifecycle.complete(two, "I am for it.", Usage(3, 400))
    lifecycle.complete(three, "I am against it.", Usage(3, 500))

    again = start()

    assert (again.spent.tokens, again.spent.share) == (920, 1)
    assert again.spent.seconds > 0


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
