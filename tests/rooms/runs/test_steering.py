"""Steering lines: accepted, applied once by the owner of the run, or failed with its end."""

import pytest
from django.db import transaction
from django.utils import timezone

from accounts.errors import Conflict, Forbidden, Invalid, NotFound, TooLarge
from agents.engine_types import AnswerFailed, Usage
from rooms import services
from rooms.event_log import events_after
from rooms.models import Message, ModelRequest, Run, RunState, Steer
from rooms.runs import leases, lifecycle
from rooms.runs.leases import LeaseLost
from rooms.runs.lifecycle import Job
from rooms.runs.queue import LEASE
from rooms.runs.steps import accepted_lines, waiting
from tests.rooms.claiming import claim_and_start
from tests.rooms.conftest import Cast

pytestmark = pytest.mark.django_db


def ask(cast: Cast) -> Run:
    (run,) = services.post_message(user=cast.member, room_id=cast.room.pk, text="question").runs
    return Run.objects.get(pk=run)


def start(owner: str = "worker") -> Job:
    claimed = claim_and_start(owner)
    assert claimed is not None
    assert claimed[1] is not None
    return claimed[1]


def steer(cast: Cast, run: Run, text: str = "shorter") -> Steer:
    return services.steer_run(user=cast.moderator, run_id=run.pk, text=text)


def take(job: Job, after: int | accepted_lines.EndedRequest = 0) -> list[str]:
    """Apply the accepted lines as the worker of `job` does; return their texts."""
    with transaction.atomic():
        room, run = leases.lock_owned(job.run, job.owner, job.attempt)
        return [line.text for line in accepted_lines.take(room, run, after)]


def shown(job: Job) -> list[tuple[str, str]]:
    """Return the text and the state of each line that the answer shows."""
    lines = Message.objects.get(pk=job.message).steered or []
    return [(line["text"], line["state"]) for line in lines]


def expire_lease() -> None:
    Run.objects.update(lease_until=timezone.now() - LEASE)
    leases.reap()


def kinds(cast: Cast, last: int) -> list[str]:
    return [event.type for event in events_after(cast.room.pk, 0)][-last:]


def test_line_to_a_running_answer_is_shown_and_applied_once(cast: Cast) -> None:
    run = ask(cast)
    job = start()

    line = steer(cast, run)
    accepted = shown(job)
    first, second = take(job), take(job)

    assert accepted == [("shorter", "accepted")]
    assert (first, second) == (["shorter"], [])
    assert shown(job) == [("shorter", "applied")]
    line.refresh_from_db()
    assert (line.state, line.request) == ("applied", 0)
    assert kinds(cast, 2) == ["message.updated"] * 2


def test_line_to_a_queued_run_is_a_turn_of_its_first_request(cast: Cast) -> None:
    run = ask(cast)
    steer(cast, run)

    job = start()

    assert [turn.text for turn in job.turns] == ["question", "shorter"]
    assert job.turns[-1].author == f"Moderator ({cast.moderator.handle})"
    assert shown(job) == [("shorter", "applied")]
    created, started = events_after(cast.room.pk, 0)[-2:]
    assert (created.type, started.type) == ("message.created", "run.started")
    assert b'"state":"applied"' in created.frame


def test_accepted_line_of_a_killed_worker_is_applied_by_the_next(cast: Cast) -> None:
    run = ask(cast)
    killed = start("killed")
    steer(cast, run)
    expire_lease()

    job = start("successor")

    assert (job.attempt, job.message) == (2, killed.message)
    assert [turn.text for turn in job.turns] == ["question", "shorter"]
    assert shown(job) == [("shorter", "applied")]
    with pytest.raises(LeaseLost):
        take(killed)


def test_applied_line_of_a_killed_worker_stays_in_the_conversation(cast: Cast) -> None:
    run = ask(cast)
    steer(cast, run, "first")
    killed = start("killed")
    steer(cast, run, "second")
    take(killed, accepted_lines.EndedRequest(0, "half", (3, 4)))
    expire_lease()
    steer(cast, run, "third")

    job = start("successor")

    assert [turn.text for turn in job.turns] == ["question", "first"]
    assert [(line.text, line.request) for line in run.steering.all()] == [
        ("first", None),
        ("second", 0),
        ("third", 0),
    ]
    assert [state for _text, state in shown(job)] == ["applied"] * 3
    (past,) = job.past
    assert (past.number, past.text) == (0, "half")
    assert [line.text for line in past.steering] == ["second", "third"]
    assert ModelRequest.objects.get(run=run).output_tokens == 4


def test_answer_that_was_steered_at_its_end_goes_on(cast: Cast) -> None:
    run = ask(cast)
    job = start()
    steer(cast, run)

    has_ended = lifecycle.complete(job, "long answer", Usage(3, 4))
    waiting.go_on(job, "long answer", Usage(3, 4))
    run.refresh_from_db()
    state, resumed = run.state, run.resumed
    again = start()
    lifecycle.complete(again, "long answer short", Usage(5, 6))

    assert (has_ended, state, resumed) == (False, RunState.QUEUED, 1)
    assert shown(job) == [("shorter", "applied")]
    assert (again.attempt, again.message) == (2, job.message)
    (past,) = again.past
    assert (past.number, past.text, past.calls) == (0, "long answer", [])
    assert [line.text for line in past.steering] == ["shorter"]
    run.refresh_from_db()
    assert run.state == RunState.COMPLETED
    assert Message.objects.get(pk=job.message).text == "long answer short"


@pytest.mark.parametrize("end", ["stop", "failure", "stop before the start"])
def test_line_to_an_answer_that_ends_first_has_failed(cast: Cast, end: str) -> None:
    run = ask(cast)
    job = None if end == "stop before the start" else start()
    line = steer(cast, run)

    if job is not None and end == "failure":
        lifecycle.fail(job, AnswerFailed("timeout"), "half")
    else:
        services.cancel_run(user=cast.member, run_id=run.pk)

    line.refresh_from_db()
    assert line.state == "failed"
    if job is not None:
        assert shown(job) == [("shorter", "failed")]
        assert b'"state":"failed"' in events_after(cast.room.pk, 0)[-2].frame
    with pytest.raises(Conflict):
        steer(cast, run)


def test_waiting_run_is_steered(cast: Cast) -> None:
    run = ask(cast)
    job = start()
    Run.objects.update(state=RunState.WAITING, lease_owner="", lease_until=None)

    steer(cast, run)

    assert shown(job) == [("shorter", "accepted")]


def test_only_members_who_may_post_steer(cast: Cast) -> None:
    run = ask(cast)

    for user, error in ((cast.reader, Forbidden), (cast.stranger, NotFound)):
        with pytest.raises(error):
            services.steer_run(user=user, run_id=run.pk, text="shorter")
    assert not Steer.objects.exists()


def test_lines_are_bounded(cast: Cast) -> None:
    run = ask(cast)
    job = start()

    for text, error in ((" \n", Invalid), ("\x00", Invalid), ("a" * 2_001, TooLarge)):
        with pytest.raises(error):
            steer(cast, run, text)
    for number in range(accepted_lines.MAX_LINES):
        steer(cast, run, f"{number}" * 2_000)
    with pytest.raises(Conflict):
        steer(cast, run)

    assert len(take(job)) == accepted_lines.MAX_LINES


def test_deletion_of_the_answer_removes_the_lines(cast: Cast) -> None:
    run = ask(cast)
    job = start()
    steer(cast, run, "CANARY")

    services.delete_message(user=cast.moderator, message_id=job.message)

    assert Message.objects.get(pk=job.message).steered is None
    assert Steer.objects.get(run=run).text == ""
    assert not any(b"CANARY" in event.frame for event in events_after(cast.room.pk, 0))


def test_text_of_a_removed_member_stays(cast: Cast) -> None:
    run = ask(cast)
    job = start()
    steer(cast, run)

    services.remove_member(user=cast.owner, room_id=cast.room.pk, member_id=cast.moderator.pk)

    assert take(job) == ["shorter"]


def test_blank_line_at_the_start_of_an_answer_is_kept(cast: Cast) -> None:
    run = ask(cast)
    job = start()
    ModelRequest.objects.create(run=run, number=0, text="\n\nfirst")
    steer(cast, run)

    waiting.go_on(job, "\n\nfirst\n\nsecond", None)

    texts = ModelRequest.objects.filter(run=run).order_by("number").values_list("text", flat=True)
    assert list(texts) == ["\n\nfirst", "second"]
