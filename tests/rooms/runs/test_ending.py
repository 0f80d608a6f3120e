"""`end_runs` and its callers: one order of steps for every reason."""

import asyncio
from uuid import UUID

import pytest

from agents.engine_types import AnswerFailed
from rooms import services
from rooms.fanout import publisher
from rooms.fanout.publisher import Batch, Envelope
from rooms.markup import MAX_CHARACTERS
from rooms.models import Message, Run, RunState
from rooms.runs import ending, lifecycle, queue
from rooms.runs.delta_store import delta_store
from rooms.runs.lifecycle import Job
from tests.rooms.claiming import claim_and_start
from tests.rooms.conftest import Cast


def post(cast: Cast) -> UUID:
    (run_id,) = services.post_message(user=cast.member, room_id=cast.room.pk, text="question").runs
    return run_id


def start_run(cast: Cast) -> Job:
    post(cast)
    claimed = claim_and_start("worker")
    assert claimed is not None
    assert claimed[1] is not None
    return claimed[1]


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One item for each notification of the workers that a running run has ended."""
    notifications: list[str] = []
    monkeypatch.setattr(ending, "notify_stopped", lambda: notifications.append("stopped"))
    return notifications


@pytest.mark.django_db(transaction=True)
def test_unauthorized_runs_end_in_one_batch_with_one_notification(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, stopped: list[str]
) -> None:
    published: list[Envelope] = []
    moved_behind: list[UUID] = []
    running = start_run(cast)
    first, second = post(cast), post(cast)
    monkeypatch.setattr(publisher.publisher, "publish", published.append)
    monkeypatch.setattr(queue, "publish_positions_behind", lambda run: moved_behind.append(run.pk))

    services.remove_member(user=cast.owner, room_id=cast.room.pk, member_id=cast.member.pk)

    batches = [batch.entries for batch in published if isinstance(batch, Batch)]
    ended = [[entry.type for entry in batch] for batch in batches if batch[-1].type == "run.failed"]
    assert ended == [["message.updated", *["run.failed"] * 3]]
    assert stopped == ["stopped"]
    assert moved_behind == [first]
    states = dict(Run.objects.values_list("pk", "state"))
    assert states == dict.fromkeys((running.run, first, second), RunState.FAILED)


@pytest.mark.django_db
def test_run_that_another_process_ends_keeps_the_stored_deltas(
    cast: Cast, stopped: list[str]
) -> None:
    job = start_run(cast)
    asyncio.run(delta_store().append(job.message, job.attempt, ["so ", "far"], 0))

    services.cancel_run(user=cast.member, run_id=job.run)

    assert Message.objects.get(pk=job.message).text == "so far"
    assert (
        asyncio.run(delta_store().append(job.message, job.attempt, ["so ", "far", "!"], 2)) is None
    )
    assert stopped == ["stopped"]


@pytest.mark.django_db
def test_answers_that_end_together_are_formatted_up_to_a_limit_in_all(cast: Cast) -> None:
    text = "**a** " + "word " * (MAX_CHARACTERS // 14)
    for _ in range(4):
        job = start_run(cast)
        asyncio.run(delta_store().append(job.message, job.attempt, [text], 0))

    services.remove_member(user=cast.owner, room_id=cast.room.pk, member_id=cast.member.pk)

    ended = list(Message.objects.filter(runs=None, text=text.rstrip()).order_by("seq"))
    assert ["<strong>" in answer.html for answer in ended] == [True, True, False, False]


@pytest.mark.django_db
def test_run_that_its_worker_ends_notifies_no_worker(cast: Cast, stopped: list[str]) -> None:
    completed, failed = start_run(cast), start_run(cast)

    lifecycle.complete(completed, "answer", None)
    lifecycle.fail(failed, AnswerFailed("timeout"), "half an ")

    assert stopped == []
    assert Message.objects.get(pk=failed.message).text == "half an"
