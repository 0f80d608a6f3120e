"""The life of a run in the database: claims, starts, leases and ends."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from threading import Thread
from uuid import UUID

import pytest
import time_machine
from asgiref.sync import async_to_sync
from django.db import OperationalError, connection
from django.utils import timezone

from accounts.services import create_team
from agents.engine_types import AnswerFailed, Usage
from agents.models import Persona
from agents.services import create_demo_persona, delete_persona, set_persona_enabled
from rooms import services
from rooms.event_log import events_after
from rooms.fanout import publisher
from rooms.fanout.publisher import Batch, Envelope
from rooms.models import Message, MessageStatus, Run, RunState
from rooms.permissions import set_room_role
from rooms.runs import leases, lifecycle, queue
from rooms.runs.delta_store import delta_store
from rooms.runs.leases import LeaseLost
from rooms.runs.lifecycle import Job
from tests.rooms.claiming import claim_run, start_run
from tests.rooms.conftest import Cast, make_user

pytestmark = pytest.mark.django_db


def ask(cast: Cast, text: str = "hello") -> UUID:
    (run,) = services.post_message(user=cast.member, room_id=cast.room.pk, text=text).runs
    return run


def started(cast: Cast, owner: str = "worker") -> Job:
    ask(cast)
    run_id = claim_run(owner)
    assert run_id is not None
    job = start_run(run_id, owner)
    assert job is not None
    return job


def kinds(cast: Cast, last: int) -> list[str]:
    return [event.type for event in events_after(cast.room.pk, 0)][-last:]


def expire(job: Job) -> None:
    Run.objects.filter(pk=job.run).update(lease_until=timezone.now() - timedelta(seconds=1))


def test_claim_of_an_empty_queue_returns_none(cast: Cast) -> None:
    assert claim_run("worker") is None


def test_run_is_claimed_once(cast: Cast) -> None:
    run_id = ask(cast)

    assert claim_run("one") == run_id
    assert claim_run("two") is None


def test_oldest_run_is_claimed_first(cast: Cast) -> None:
    first, second = ask(cast), ask(cast)

    assert [claim_run("worker"), claim_run("worker")] == [first, second]


def test_team_with_fewer_running_runs_is_served_first(cast: Cast) -> None:
    busy = [ask(cast) for _ in range(3)]
    other = make_user("Other")
    team = create_team(user=other, name="Quiet team")
    persona = create_demo_persona(user=other, team_id=team.pk)
    room = services.create_room(user=other, team_id=team.pk, name="quiet", personas=[persona.pk])
    (late,) = services.post_message(user=other, room_id=room.pk, text="hi").runs

    order = [claim_run("worker") for _ in range(4)]

    assert order == [busy[0], late, *busy[1:]]


def test_start_creates_the_streaming_answer(cast: Cast) -> None:
    job = started(cast)

    answer = Message.objects.get(pk=job.message)
    assert (answer.status, answer.text) == (MessageStatus.STREAMING, "")
    assert kinds(cast, 2) == ["message.created", "run.started"]
    assert job.base == cast.refreshed().last_seq
    assert [turn.text for turn in job.turns] == ["hello"]


def test_completed_run_stores_text_and_usage(cast: Cast) -> None:
    job = started(cast)

    lifecycle.complete(job, "the answer\n", Usage(3, 5))

    answer, run = Message.objects.get(pk=job.message), Run.objects.get(pk=job.run)
    assert (answer.status, answer.text) == (MessageStatus.COMPLETE, "the answer")
    assert "the answer" in answer.html
    assert (run.state, run.input_tokens, run.output_tokens) == (RunState.COMPLETED, 3, 5)
    assert kinds(cast, 2) == ["message.completed", "run.completed"]


def test_failed_run_keeps_the_published_text_and_the_usage(cast: Cast) -> None:
    job = started(cast)

    failure = AnswerFailed("provider_refused", "quota", usage=Usage(30, 7))
    lifecycle.fail(job, failure, "half an ans")

    answer, run = Message.objects.get(pk=job.message), Run.objects.get(pk=job.run)
    assert (answer.status, answer.text) == (MessageStatus.FAILED, "half an ans")
    assert (run.error_code, run.error_reason) == ("provider_refused", "quota")
    assert (run.input_tokens, run.output_tokens) == (30, 7)
    assert kinds(cast, 2) == ["message.updated", "run.failed"]


def test_run_refused_at_a_later_attempt_keeps_the_published_text(cast: Cast) -> None:
    job = started(cast, "killed")
    async_to_sync(delta_store().append)(job.message, job.attempt, ["half an ", "answer"], 0)
    expire(job)
    leases.reap()
    Persona.objects.filter(pk=cast.persona.pk).update(enabled=False)

    run_id = claim_run("successor")
    assert run_id is not None
    assert start_run(run_id, "successor") is None

    answer = Message.objects.get(pk=job.message)
    assert (answer.status, answer.text) == (MessageStatus.FAILED, "half an answer")


def test_ended_run_cannot_end_again(cast: Cast) -> None:
    job = started(cast)
    lifecycle.complete(job, "done", None)
    seq = cast.refreshed().last_seq

    with pytest.raises(LeaseLost):
        lifecycle.complete(job, "again", None)
    with pytest.raises(LeaseLost):
        lifecycle.fail(job, AnswerFailed("internal"), "")

    assert cast.refreshed().last_seq == seq
    assert Message.objects.get(pk=job.message).text == "done"


def test_worker_with_a_lost_lease_writes_nothing(cast: Cast) -> None:
    stale_job = started(cast, "zombie")
    expire(stale_job)
    leases.reap()
    run_id = claim_run("successor")
    assert run_id is not None
    successor = start_run(run_id, "successor")
    assert successor is not None

    with pytest.raises(LeaseLost):
        lifecycle.complete(stale_job, "late", None)
    assert leases.renew("zombie", [stale_job.run]) == set()
    lifecycle.complete(successor, "in time", None)

    assert (successor.run, successor.message) == (stale_job.run, stale_job.message)
    assert (stale_job.attempt, successor.attempt) == (1, 2)
    assert Message.objects.get(pk=successor.message).text == "in time"
    assert kinds(cast, 3) == ["run.started", "message.completed", "run.completed"]


def test_write_under_an_older_attempt_is_refused(cast: Cast) -> None:
    first = started(cast)
    expire(first)
    leases.reap()
    run_id = claim_run("worker")
    assert run_id is not None
    assert start_run(run_id, "worker") is not None

    with pytest.raises(LeaseLost):
        lifecycle.complete(first, "late", None)


def test_run_fails_with_the_published_text_after_its_last_attempt(cast: Cast) -> None:
    job = started(cast)
    for _ in range(leases.MAX_ATTEMPTS - 1):
        expire(job)
        leases.reap()
        run_id = claim_run("worker")
        assert run_id == job.run
        start_run(run_id, "worker")
    expire(job)
    asyncio.run(delta_store().append(job.message, leases.MAX_ATTEMPTS, ["so far"], 0))

    leases.reap()

    run = Run.objects.get(pk=job.run)
    assert (run.state, run.error_code) == (RunState.FAILED, "worker_lost")
    assert Message.objects.get(pk=job.message).text == "so far"
    assert claim_run("worker") is None


def test_reap_queues_a_running_run_without_a_lease(cast: Cast) -> None:
    job = started(cast)
    Run.objects.filter(pk=job.run).update(lease_until=None)

    leases.reap()

    assert claim_run("next") == job.run


def test_reap_uses_the_clock_of_the_database(cast: Cast) -> None:
    job = started(cast)

    with time_machine.travel(timezone.now() + timedelta(hours=1)):
        leases.reap()
        kept = leases.renew("worker", [job.run])

    assert kept == {job.run}
    lease_until = Run.objects.get(pk=job.run).lease_until
    assert lease_until is not None
    assert lease_until < timezone.now() + timedelta(minutes=1)


def test_reap_ignores_valid_leases(cast: Cast) -> None:
    job = started(cast)

    leases.reap()

    assert leases.renew("worker", [job.run]) == {job.run}


@pytest.mark.parametrize("error", [ZeroDivisionError, OperationalError, OSError])
def test_reap_continues_after_a_run_that_fails(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    poisoned, other = started(cast, "dead"), started(cast, "dead")
    reap_one = leases._reap

    def fail_for_one(run_id: UUID) -> None:
        if run_id == poisoned.run:
            raise error
        reap_one(run_id)

    monkeypatch.setattr(leases, "_reap", fail_for_one)
    for job in (poisoned, other):
        expire(job)

    leases.reap()

    states = [Run.objects.get(pk=job.run).state for job in (poisoned, other)]
    assert states == [RunState.RUNNING, RunState.QUEUED]


@pytest.mark.django_db(transaction=True)
def test_archiving_a_room_cancels_its_runs_in_one_batch_of_events(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[Envelope] = []
    monkeypatch.setattr(publisher, "publish", published.append)
    monkeypatch.setattr(publisher.publisher, "publish", published.append)
    moved_behind = []

    def fail(run: Run) -> None:
        moved_behind.append(run.pk)
        raise ZeroDivisionError

    monkeypatch.setattr(queue, "publish_positions_behind", fail)
    waiting = [started(cast).run, *(ask(cast) for _ in range(10))]
    published.clear()

    services.archive_room(user=cast.owner, room_id=cast.room.pk)

    changes = [batch.entries for batch in published if isinstance(batch, Batch)]
    ended = [event.type for event in changes[0]]
    assert ended == ["message.updated", *["run.cancelled"] * len(waiting)]
    assert [event.type for event in changes[1]] == ["room.archived"]
    assert moved_behind == [waiting[1]]  # the oldest queued run


def test_released_run_is_queued_again(cast: Cast) -> None:
    job = started(cast)

    leases.release("worker")

    assert claim_run("next") == job.run
    with pytest.raises(LeaseLost):
        lifecycle.complete(job, "late", None)


def test_worker_loses_the_lease_of_a_cancelled_run(cast: Cast) -> None:
    job = started(cast)

    services.cancel_run(user=cast.member, run_id=job.run)

    assert leases.renew("worker", [job.run]) == set()
    with pytest.raises(LeaseLost):
        lifecycle.complete(job, "late", None)
    assert kinds(cast, 2) == ["message.updated", "run.cancelled"]


def failed_at_start(cast: Cast) -> Run:
    run_id = claim_run("worker")
    assert run_id is not None
    assert start_run(run_id, "worker") is None
    return Run.objects.get(pk=run_id)


def test_start_fails_if_the_asker_may_not_post_any_more(cast: Cast) -> None:
    ask(cast)
    set_room_role([cast.member], cast.room, None)

    run = failed_at_start(cast)

    assert (run.state, run.error_code) == (RunState.FAILED, "not_allowed")
    assert not Message.objects.filter(status=MessageStatus.STREAMING).exists()


def test_start_fails_if_the_persona_is_disabled(cast: Cast) -> None:
    ask(cast)
    Persona.objects.filter(pk=cast.persona.pk).update(enabled=False)

    run = failed_at_start(cast)

    assert (run.error_code, run.error_reason) == ("not_allowed", "persona_off")
    assert run.error_persona == cast.persona.name


def test_start_fails_if_the_persona_is_unbound(cast: Cast) -> None:
    ask(cast)
    cast.room.bindings.all().delete()

    assert failed_at_start(cast).error_code == "not_allowed"


def remove_asker(cast: Cast) -> None:
    services.remove_member(user=cast.owner, room_id=cast.room.pk, member_id=cast.member.pk)


def demote_asker(cast: Cast) -> None:
    member_id = cast.member.pk
    services.put_member(user=cast.owner, room_id=cast.room.pk, member_id=member_id, role="reader")


def unbind(cast: Cast) -> None:
    services.unbind_persona(user=cast.owner, room_id=cast.room.pk, persona_id=cast.persona.pk)


def disable(cast: Cast) -> None:
    set_persona_enabled(user=cast.owner, persona_id=cast.persona.pk, enabled=False)


@pytest.mark.parametrize("revoke", [remove_asker, demote_asker, unbind, disable])
def test_queued_and_running_runs_fail_when_the_right_is_revoked(
    cast: Cast, revoke: Callable[[Cast], None]
) -> None:
    job = started(cast)
    ask(cast)

    revoke(cast)

    assert ends(cast) == [("failed", "not_allowed")] * 2
    assert Message.objects.get(pk=job.message).status == MessageStatus.FAILED
    with pytest.raises(LeaseLost):
        lifecycle.complete(job, "the whole answer", None)


def test_run_continues_when_another_member_loses_rights(cast: Cast) -> None:
    job = started(cast)

    services.remove_member(user=cast.owner, room_id=cast.room.pk, member_id=cast.reader.pk)
    lifecycle.complete(job, "the whole answer", None)

    assert ends(cast) == [("completed", "")]


def ends(cast: Cast) -> list[tuple[str, str]]:
    return list(cast.room.runs.values_list("state", "error_code"))


def test_runs_of_a_deleted_persona_fail(cast: Cast) -> None:
    job = started(cast)

    delete_persona(user=cast.owner, persona_id=cast.persona.pk)

    answer = Message.objects.get(pk=job.message)
    assert (answer.status, answer.author_kind, answer.persona_id) == (
        MessageStatus.FAILED,
        "persona",
        cast.persona.pk,
    )
    assert "run.failed" in kinds(cast, 3)


def test_turns_are_those_of_the_room_up_to_the_question(cast: Cast) -> None:
    elsewhere = services.create_room(user=cast.owner, team_id=cast.team.pk, name="elsewhere")
    services.post_message(user=cast.owner, room_id=elsewhere.pk, text="CANARY-elsewhere")
    services.post_message(user=cast.owner, room_id=cast.room.pk, text="before", personas=[])
    ask(cast, "question")
    services.post_message(user=cast.owner, room_id=cast.room.pk, text="after", personas=[])
    run_id = claim_run("worker")
    assert run_id is not None

    job = start_run(run_id, "worker")

    assert job is not None
    assert [(turn.author, turn.text) for turn in job.turns] == [
        ("Owner", "before"),
        ("Member", "question"),
    ]


@pytest.mark.django_db(transaction=True)
def test_two_workers_never_claim_the_same_run(cast: Cast) -> None:
    asked = {ask(cast) for _ in range(24)}
    claimed: list[UUID] = []

    def work(owner: str) -> None:
        while (run_id := claim_run(owner)) is not None:
            claimed.append(run_id)
        connection.close()

    threads = [Thread(target=work, args=(f"worker-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(claimed) == sorted(asked)
