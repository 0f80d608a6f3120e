"""Tool calls of runs: proposed, begun, finished, and what a death of the worker leaves."""

from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone

from accounts.services import create_team
from agents.engine_types import AnswerFailed
from agents.models import McpServer, PersonaTool, Tool
from agents.services import set_persona_enabled
from agents.tool_types import CallRequest, ToolResult
from agents.tools import result_words
from rooms import services
from rooms.event_log import events_after
from rooms.models import CallState, Denial, Message, ModelRequest, Question, Run, RunState, ToolCall
from rooms.permissions import set_room_role
from rooms.runs.leases import LeaseLost
from rooms.runs.lifecycle import Job
from rooms.runs.steps import journal, past, waiting
from tests.rooms.acting import (
    LOOK,
    SEND,
    begin,
    begun,
    complete,
    decide,
    execute,
    kinds,
    lose,
    make_tool,
    propose,
    request,
    set_policy,
    start_again,
    started,
    waiting_run,
)
from tests.rooms.conftest import Cast

pytestmark = pytest.mark.django_db


def steps(job: Job) -> list[tuple[str, str]]:
    found = Message.objects.get(pk=job.message).steps or []
    return [(step["tool"], step["state"]) for step in found]


def test_allowed_call_runs_and_its_steps_are_shown(cast: Cast) -> None:
    set_policy(cast, LOOK, "always")
    job = started(cast)
    call = request(LOOK)

    assert propose(job, call) == ["allowed"]
    assert execute(job, call.id)
    complete(job)

    stored = ToolCall.objects.get()
    assert (stored.state, stored.result, stored.short, stored.ms) == (
        "done",
        "the result",
        "1 result",
        7,
    )
    assert ModelRequest.objects.get().text == "Let me see. "
    assert steps(job) == [("look", "done")]
    assert kinds(cast, 5) == [*["message.updated"] * 3, "message.completed", "run.completed"]


def test_events_and_steps_have_neither_arguments_nor_results(cast: Cast) -> None:
    set_policy(cast, SEND, "ask")
    job = started(cast)
    call = request(SEND, '{"secret": "CANARY"}')
    propose(job, call)
    ToolCall.objects.update(state=CallState.ALLOWED, decided_by=cast.member)
    execute(job, call.id, "CANARY of a result")

    assert "CANARY" not in str(Message.objects.get(pk=job.message).steps)
    assert not any(b"CANARY" in event.frame for event in events_after(cast.room.pk, 0))


def test_repeated_proposal_changes_nothing(cast: Cast) -> None:
    set_policy(cast, LOOK, "always")
    job = started(cast)
    calls = [request(LOOK), request(None)]
    first = propose(job, *calls)
    seq = cast.refreshed().last_seq

    assert propose(job, *calls) == first == ["allowed", "failed"]
    assert (ToolCall.objects.count(), cast.refreshed().last_seq) == (2, seq)


def test_repeated_end_of_a_call_changes_nothing(cast: Cast) -> None:
    set_policy(cast, LOOK, "always")
    job = started(cast)
    call = request(LOOK)
    propose(job, call)
    execute(job, call.id)
    seq = cast.refreshed().last_seq

    journal.finish(job, call.id, ToolResult("another result"), 8)

    assert ToolCall.objects.get().result == "the result"
    assert cast.refreshed().last_seq == seq


@pytest.mark.parametrize(
    ("policy", "state"),
    [("always", "allowed"), ("ask", "asked"), ("never", "denied"), (None, "denied")],
)
def test_policy_decides_on_a_proposed_call(cast: Cast, policy: str | None, state: str) -> None:
    if policy:
        set_policy(cast, SEND, policy)

    assert propose(started(cast), request(SEND)) == [state]


def test_call_with_a_problem_is_failed_and_never_runs(cast: Cast) -> None:
    set_policy(cast, SEND, "always")
    job = started(cast)
    broken = CallRequest(
        id=request().id, call_id="c", name="send", arguments="{", spec=SEND, problem="No JSON."
    )

    assert propose(job, broken) == ["failed"]
    assert not execute(job, broken.id)


def test_arguments_that_cannot_be_stored_as_they_are_are_denied(cast: Cast) -> None:
    set_policy(cast, SEND, "always")
    job = started(cast)
    long, broken = request(SEND, '"' + "a" * 70_000 + '"'), request(SEND, '"\ud800"')

    assert propose(job, long, broken) == ["denied", "denied"]


@pytest.mark.parametrize("change", ["never", "ask", "removed"])
def test_policy_is_asked_again_before_a_call_runs(cast: Cast, change: str) -> None:
    set_policy(cast, SEND, "always")
    job = started(cast)
    call = request(SEND)
    assert propose(job, call) == ["allowed"]

    if change == "removed":
        PersonaTool.objects.all().delete()
    else:
        set_policy(cast, SEND, change)

    assert not execute(job, call.id)
    assert steps(job) == [("send", "denied")]


@pytest.mark.parametrize("fault", ["unapproved", "unlisted", "disabled", "foreign"])
def test_tool_of_a_server_runs_only_while_it_is_approved_and_served(cast: Cast, fault: str) -> None:
    server = McpServer.objects.create(
        team=cast.team, name="Calendar", prefix="cal", url="https://x.example"
    )
    hashes = {"sha256": "a", "approved_sha256": "a"}
    row = Tool.objects.create(
        team=cast.team, server=server, key="send", name="cal_send", title="Send", **hashes
    )
    spec = make_tool("cal_send")
    tool = replace(spec, id=row.pk)
    set_policy(cast, tool, "always")
    job = started(cast)
    assert propose(job, request(tool)) == ["allowed"]
    call = ToolCall.objects.get()

    if fault == "disabled":
        McpServer.objects.update(enabled=False)
    elif fault == "foreign":
        McpServer.objects.update(team=create_team(user=cast.stranger, name="Third"))
    else:
        changes: dict[str, dict[str, Any]] = {
            "unapproved": {"sha256": "b"},
            "unlisted": {"listed": False},
        }
        Tool.objects.update(**changes[fault])

    assert not begin(job, call.pk)
    assert propose(job, request(tool), number=1) == ["denied"]


def test_rights_of_the_asker_are_asked_before_each_call(cast: Cast) -> None:
    set_policy(cast, LOOK, "always")
    job = started(cast)
    call = request(LOOK)
    propose(job, call)
    set_room_role([cast.member], cast.room, "reader")

    with pytest.raises(AnswerFailed, match="not_allowed"):
        journal.begin(job, call.id)
    assert ToolCall.objects.get().state == CallState.ALLOWED


def test_worker_without_the_run_neither_begins_nor_finishes_a_call(cast: Cast) -> None:
    set_policy(cast, LOOK, "always")
    job = started(cast)
    first, second = request(LOOK), request(LOOK)
    propose(job, first, second)
    journal.begin(job, first.id)
    lose(job)
    start_again(job.run, "successor")

    for write in (
        lambda: propose(job, request(LOOK), number=1),
        lambda: journal.begin(job, second.id),
        lambda: journal.finish(job, first.id, ToolResult("late"), 1),
    ):
        with pytest.raises(LeaseLost):
            write()


def test_begun_call_is_unknown_after_the_death_of_its_worker(cast: Cast) -> None:
    set_policy(cast, SEND, "always")
    set_policy(cast, LOOK, "always")
    job = started(cast)
    send, look, later = request(SEND), request(LOOK), request(SEND)
    propose(job, send, look, later)
    journal.begin(job, send.id)
    journal.begin(job, look.id)
    lose(job)

    successor = start_again(job.run, "successor")

    (former,) = successor.past
    assert [call.state for call in former.calls] == ["unknown", "allowed", "allowed"]
    assert steps(job) == [("send", "unknown"), ("look", "allowed"), ("send", "allowed")]
    assert not execute(successor, send.id)
    assert execute(successor, look.id)


@pytest.mark.parametrize("is_lost", [False, True])
def test_call_is_not_repeated_if_its_tool_is_not_idempotent_any_more(
    cast: Cast, *, is_lost: bool
) -> None:
    job, _call = begun(cast)
    lose(job)
    if is_lost:
        PersonaTool.objects.all().delete()
    else:
        Tool.objects.update(idempotent=False)

    (former,) = start_again(job.run).past

    assert [each.state for each in former.calls] == ["unknown"]


@pytest.mark.parametrize("end", ["asks", "changed", "stopped"])
def test_call_that_a_dead_worker_has_begun_is_never_denied(cast: Cast, end: str) -> None:
    """It is allowed again, because its tool is idempotent; then it may not be repeated."""
    job, call = begun(cast)
    lose(job)
    successor = start_again(job.run, "successor")
    assert ToolCall.objects.get().state == CallState.ALLOWED

    if end == "stopped":
        services.cancel_run(user=cast.member, run_id=job.run)
    else:
        if end == "asks":
            set_policy(cast, LOOK, "ask")
        else:
            Tool.objects.update(sha256="b")
        assert journal.begin(successor, call.id) == result_words.UNKNOWN

    assert (ToolCall.objects.get().state, ToolCall.objects.get().denial) == ("unknown", "")
    assert steps(job) == [("look", "unknown")]


def test_question_that_people_have_seen_is_not_denied_by_the_end_of_its_run(cast: Cast) -> None:
    job, call = begun(cast)
    Question.objects.create(call_id=call.id, room=cast.room, expires_at=timezone.now())
    waiting.wait(job, "", None)

    services.cancel_run(user=cast.member, run_id=job.run)

    assert steps(job) == [("look", "unknown")]


def test_past_has_texts_arguments_and_results(cast: Cast) -> None:
    set_policy(cast, LOOK, "always")
    job = started(cast)
    call = request(LOOK, '{"for": "lamps"}')
    propose(job, call)
    execute(job, call.id, "three lamps")
    lose(job)

    (former,) = start_again(job.run).past

    (made,) = former.calls
    assert (former.number, former.text) == (0, "Let me see. ")
    assert (made.request.arguments, made.request.spec) == ('{"for": "lamps"}', LOOK)
    assert (made.state, made.result) == ("done", ToolResult("three lamps", short="1 result"))


def test_tool_that_the_persona_has_lost_is_denied_at_the_next_attempt(cast: Cast) -> None:
    set_policy(cast, SEND, "always")
    job = started(cast)
    propose(job, request(SEND))
    lose(job)
    PersonaTool.objects.all().delete()

    (former,) = start_again(job.run).past

    assert [call.state for call in former.calls] == ["denied"]
    assert [call.result for call in former.calls] == [
        ToolResult(past.DENIALS[Denial.NOT_ALLOWED], failed=True)
    ]


@pytest.mark.parametrize(
    ("note", "reason"),
    [("Too early.", " The person who denied it wrote: Too early."), ("", "")],
)
def test_model_is_told_once_that_a_call_was_denied(cast: Cast, note: str, reason: str) -> None:
    asked = waiting_run(cast)
    decide(cast, asked, "deny", note=note)

    (former,) = start_again(asked.job.run).past

    (call,) = former.calls
    words = result_words.of_call(call).text
    assert words == f"This call was not allowed, and was not executed.{reason}"


def test_stop_closes_the_open_calls(cast: Cast) -> None:
    set_policy(cast, SEND, "ask")
    set_policy(cast, LOOK, "always")
    job = started(cast)
    asked, running, allowed = request(SEND), request(LOOK), request(LOOK)
    propose(job, asked, running, allowed)
    journal.begin(job, running.id)

    services.cancel_run(user=cast.member, run_id=job.run)

    assert [state for _tool, state in steps(job)] == ["denied", "unknown", "denied"]
    denials = ToolCall.objects.order_by("position").values_list("denial", flat=True)
    assert [*denials] == ["run_ended", "", "run_ended"]
    assert kinds(cast, 3) == ["approval.decided", "message.updated", "run.cancelled"]
    with pytest.raises(LeaseLost):
        journal.begin(job, allowed.id)


def test_disabled_persona_loses_its_calls_with_its_run(cast: Cast) -> None:
    set_policy(cast, SEND, "ask")
    job = started(cast)
    propose(job, request(SEND))

    set_persona_enabled(user=cast.owner, persona_id=cast.persona.pk, enabled=False)

    assert Run.objects.get().state == RunState.FAILED
    assert ToolCall.objects.get().state == CallState.DENIED
