"""Runs that wait for people: how they wait, go on, end and expire."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.errors import Conflict
from accounts.services import remove_team_member
from agents.engine_types import AnswerFailed, Usage
from agents.models import Persona
from agents.tool_types import ToolResult
from rooms import queries, services
from rooms.event_log import events_after
from rooms.models import CallState, Message, MessageStatus, Room, Run, RunState, ToolCall
from rooms.runs import claims, leases, lifecycle, queue
from rooms.runs.leases import LeaseLost
from rooms.runs.steps import journal, waiting
from rooms.services.approvals import outcome_of
from tests.rooms.acting import (
    SEND,
    Asked,
    complete,
    decide,
    execute,
    kinds,
    propose,
    request,
    set_policy,
    start_again,
    started,
    waiting_run,
)
from tests.rooms.claiming import claim_run, start_run
from tests.rooms.conftest import Cast

pytestmark = pytest.mark.django_db


def overdue(asked: Asked) -> None:
    ToolCall.objects.filter(pk=asked.call).update(expires_at=timezone.now() - timedelta(seconds=1))


def test_waiting_run_has_no_worker_and_keeps_its_text(cast: Cast) -> None:
    asked = waiting_run(cast)

    run, answer = asked.run, asked.answer
    assert (run.state, run.lease_owner, run.lease_until) == (RunState.WAITING, "", None)
    assert (answer.status, answer.text) == (MessageStatus.STREAMING, "Let me see.")
    assert "Let me see." in answer.html
    assert kinds(cast, 4) == [
        *("message.updated", "approval.requested", "message.updated", "run.waiting")
    ]
    assert claim_run("other") is None
    with pytest.raises(LeaseLost):
        journal.begin(asked.job, asked.call)


def test_allowed_call_runs_at_the_next_attempt(cast: Cast) -> None:
    asked = waiting_run(cast)

    decide(cast, asked)

    assert (asked.run.state, asked.run.resumed) == (RunState.QUEUED, 1)
    assert kinds(cast, 3) == ["approval.decided", "message.updated", "run.queued"]
    job = start_again(asked.job.run)
    assert (job.attempt, job.message) == (2, asked.job.message)
    assert [call.state for call in job.past[0].calls] == ["allowed"]
    assert execute(job, asked.call)
    complete(job)
    assert asked.answer.text == "Let me see. Done."
    assert asked.answer.steps is not None
    assert [step["state"] for step in asked.answer.steps] == ["done"]


def test_denied_call_never_runs_and_the_model_gets_the_note(cast: Cast) -> None:
    asked = waiting_run(cast)

    decide(cast, asked, "deny", note="Not before Monday.")

    job = start_again(asked.job.run)
    (call,) = job.past[0].calls
    assert call.state == "denied"
    assert call.result is not None
    assert call.result.text.endswith("Not before Monday.")
    assert not execute(job, asked.call)


def test_run_goes_on_after_the_last_decision(cast: Cast) -> None:
    set_policy(cast, SEND, "ask")
    job = started(cast)
    first, second = request(), request()
    propose(job, first, second)
    waiting.wait(job, "", None)

    decide(cast, Asked(job, first.id))
    assert Run.objects.get().state == RunState.WAITING
    decide(cast, Asked(job, second.id), "deny")

    assert Run.objects.get().state == RunState.QUEUED


def test_run_whose_calls_were_decided_before_it_waits_goes_on_at_once(cast: Cast) -> None:
    set_policy(cast, SEND, "ask")
    job = started(cast)
    call = request()
    propose(job, call)
    decide(cast, Asked(job, call.id))
    assert Run.objects.get().state == RunState.RUNNING

    waiting.wait(job, "Let me see.", Usage(3, 4))

    run = Run.objects.get()
    assert (run.state, run.resumed, run.input_tokens) == (RunState.QUEUED, 1, 3)
    assert kinds(cast, 3) == ["message.updated", "run.waiting", "run.queued"]


def test_attempts_that_waited_are_not_counted_as_lost(cast: Cast) -> None:
    asked = waiting_run(cast)
    Run.objects.update(resumed=5, attempt=6)
    decide(cast, asked)
    job = start_again(asked.job.run)

    Run.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    leases.reap()

    assert (job.attempt, asked.run.state) == (7, RunState.QUEUED)


def test_run_that_has_waited_too_often_fails(cast: Cast) -> None:
    set_policy(cast, SEND, "ask")
    job = started(cast)
    propose(job, request())
    Run.objects.update(resumed=waiting.MAX_RESUMED)

    waiting.wait(job, "Let me see.", None)

    run = Run.objects.get()
    assert (run.state, run.error_code) == (RunState.FAILED, "internal")
    assert ToolCall.objects.get().state == CallState.DENIED


def test_overdue_call_is_denied_and_the_run_goes_on(cast: Cast) -> None:
    asked = waiting_run(cast)
    waiting.expire()
    assert asked.row.state == CallState.ASKED
    overdue(asked)

    waiting.expire()

    assert (asked.row.state, asked.row.decided_by, asked.run.state) == ("denied", None, "queued")
    assert outcome_of(asked.row) == "expired"
    assert kinds(cast, 3) == ["approval.decided", "message.updated", "run.queued"]
    (call,) = start_again(asked.job.run).past[0].calls
    assert call.result == ToolResult("No person decided on it in time.", failed=True)
    assert [step["denial"] for step in asked.answer.steps or ()] == ["expired"]


def test_overdue_call_cannot_be_decided(cast: Cast) -> None:
    asked = waiting_run(cast)
    overdue(asked)

    with pytest.raises(Conflict, match="conflict"):
        decide(cast, asked)


@pytest.mark.parametrize("is_overdue", [False, True])
def test_stop_of_a_waiting_run_withdraws_the_approval_and_keeps_the_text(
    cast: Cast, *, is_overdue: bool
) -> None:
    asked = waiting_run(cast)
    if is_overdue:
        overdue(asked)

    services.cancel_run(user=cast.member, run_id=asked.job.run)

    assert (asked.run.state, asked.row.state) == (RunState.CANCELLED, CallState.DENIED)
    assert outcome_of(asked.row) == "withdrawn"
    assert (asked.answer.status, asked.answer.text) == ("cancelled", "Let me see.")
    assert [step["denial"] for step in asked.answer.steps or ()] == ["run_ended"]
    assert kinds(cast, 3) == ["approval.decided", "message.updated", "run.cancelled"]


def test_answer_that_fails_early_in_its_next_attempt_keeps_the_text(cast: Cast) -> None:
    asked = waiting_run(cast)
    decide(cast, asked)
    job = start_again(asked.job.run)

    lifecycle.fail(job, AnswerFailed("timeout"), "Let")

    assert asked.answer.text == "Let me see."


def test_refused_start_of_the_next_attempt_keeps_the_text(cast: Cast) -> None:
    asked = waiting_run(cast)
    decide(cast, asked)
    Persona.objects.update(enabled=False)

    run_id = claim_run("worker")

    assert run_id is not None
    assert start_run(run_id, "worker") is None
    assert (asked.answer.status, asked.answer.text) == ("failed", "Let me see.")


def test_removed_asker_loses_the_waiting_run(cast: Cast) -> None:
    asked = waiting_run(cast)

    remove_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.member.pk)

    assert (asked.run.state, asked.row.state) == (RunState.FAILED, CallState.DENIED)
    assert "approval.decided" in kinds(cast, 4)


@pytest.mark.parametrize("end", ["room", "archive", "answer", "question"])
def test_approval_is_withdrawn_with_its_room_or_message(cast: Cast, end: str) -> None:
    asked = waiting_run(cast)
    ends: dict[str, Callable[[], object]] = {
        "room": lambda: services.delete_room(user=cast.owner, room_id=cast.room.pk),
        "archive": lambda: services.archive_room(user=cast.owner, room_id=cast.room.pk),
        "answer": lambda: services.delete_message(user=cast.owner, message_id=asked.job.message),
        "question": lambda: services.delete_message(
            user=cast.owner, message_id=asked.run.message_id
        ),
    }

    ends[end]()

    assert (asked.run.state, asked.row.state) == (RunState.CANCELLED, CallState.DENIED)
    assert "approval.decided" in kinds(cast, 6)


def test_deleted_answer_keeps_nothing_of_its_calls(cast: Cast) -> None:
    asked = waiting_run(cast)
    decide(cast, asked)
    job = start_again(asked.job.run)
    execute(job, asked.call, "CANARY")
    services.show_result(user=cast.member, run_id=job.run, call_id=asked.call)
    complete(job)
    assert "CANARY" in str(asked.answer.steps)

    services.delete_message(user=cast.owner, message_id=job.message)

    row = asked.row
    assert (row.arguments, row.result, row.short, asked.answer.steps) == ("", "", "", None)
    assert not any(b"CANARY" in event.frame for event in events_after(cast.room.pk, 0))


def test_state_has_the_open_approvals(cast: Cast) -> None:
    asked = waiting_run(cast)

    state = queries.room_state(cast.refreshed(), [])

    (approval,) = state.approvals
    assert (approval.id, approval.asked_of[0]) == (asked.call, cast.member.pk)
    assert [run.state for run in state.runs] == ["waiting"]
    decide(cast, asked)
    assert queries.room_state(cast.refreshed(), []).approvals == []


def many_waiting(cast: Cast, count: int) -> None:
    """Add waiting runs, each with a call that asks, as if they had been started."""
    asked = waiting_run(cast)
    run, call = asked.run, asked.row
    runs = [
        Run(
            room=run.room,
            team_id=run.team_id,
            message_id=run.message_id,
            persona_id=run.persona_id,
            requested_by=cast.member,
            state=RunState.WAITING,
            attempt=1,
        )
        for _ in range(count)
    ]
    Run.objects.bulk_create(runs)
    ToolCall.objects.bulk_create(
        ToolCall(
            run=each,
            request=0,
            position=0,
            call_id="c",
            name="send",
            title="Send",
            state=CallState.ASKED,
            expires_at=call.expires_at,
            arguments_sha256=call.arguments_sha256,
        )
        for each in runs
    )


def test_waiting_runs_take_no_slot_and_no_query(cast: Cast) -> None:
    def periodic() -> None:
        leases.reap()
        waiting.expire()
        claims.claim("worker")
        queue.backlog()
        queue.check_quota(Room.objects.get(), cast.member, 1)

    with CaptureQueriesContext(
        connection,
    ) as before:
        periodic()
    many_waiting(cast, 300)

    with CaptureQueriesContext(connection) as after:
        periodic()

    assert len(after) <= len(before)
    active, complete = queue.first_active(cast.refreshed())
    assert (len(active), complete) == (200, False)
    assert len(queries.room_state(cast.refreshed(), []).approvals) == 100


def test_waiting_room_is_deleted_in_batches(cast: Cast) -> None:
    many_waiting(cast, 30)

    services.delete_room(user=cast.owner, room_id=cast.room.pk)

    assert not Run.objects.active().exists()


def test_messages_of_a_waiting_run_are_not_unread_twice(cast: Cast) -> None:
    before = cast.refreshed().message_count

    asked = waiting_run(cast)
    decide(cast, asked)
    job = start_again(asked.job.run)
    complete(job)

    assert cast.refreshed().message_count == before + 2
    assert Message.objects.count() == before + 2
