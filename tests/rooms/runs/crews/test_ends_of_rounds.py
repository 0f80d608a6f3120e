"""Rounds: steps that fail, are stopped or skipped, and what ends a round."""

import pytest

from accounts.errors import Conflict, Forbidden, NotFound
from agents.models import Persona
from agents.services import create_demo_persona, update_persona
from rooms import services
from rooms.models import RoomMode, Run, RunState
from rooms.runs import leases
from tests.rooms.conftest import Cast
from tests.rooms.runs.crews.turns import answer, begin, fail, queued, said, start, states

pytestmark = pytest.mark.django_db


@pytest.fixture
def personas(cast: Cast) -> dict[str, Persona]:
    """Three personas of a room in which several personas answer in turn."""
    update_persona(user=cast.owner, persona_id=cast.persona.pk, handle="one")
    found = {"one": cast.persona}
    for handle in ("two", "three"):
        persona = create_demo_persona(user=cast.owner, team_id=cast.team.pk)
        found[handle] = update_persona(user=cast.owner, persona_id=persona.pk, handle=handle)
        services.bind_persona(user=cast.owner, room_id=cast.room.pk, persona_id=persona.pk)
    services.update_room(user=cast.owner, room_id=cast.room.pk, mode=RoomMode.ROUND)
    return found


@pytest.mark.usefixtures("personas")
def test_failed_step_pauses_the_round_until_it_is_retried(cast: Cast) -> None:
    round_ = begin(cast)
    failed = fail()

    assert (queued(), states(round_)) == ([], ["paused", "failed", "waiting", "waiting"])
    assert round_.steps[0]["reason"] == "provider_unavailable"
    retried = services.retry_run(user=cast.member, run_id=failed.pk)
    assert states(round_) == ["running", "running", "waiting", "waiting"]
    assert round_.steps[0] == {
        "persona": str(failed.persona_id),
        "name": "Garam",
        "run": str(retried.pk),
        "state": "running",
    }
    answer("first")
    assert (queued(), states(round_)) == (["two"], ["running", "completed", "running", "waiting"])


@pytest.mark.usefixtures("personas")
def test_failed_step_can_be_skipped(cast: Cast) -> None:
    round_ = begin(cast)
    answer("first")
    fail("timeout")

    with pytest.raises(Forbidden):
        services.skip_step(user=cast.reader, round_id=round_.pk)
    with pytest.raises(NotFound):
        services.skip_step(user=cast.stranger, round_id=round_.pk)
    services.skip_step(user=cast.moderator, round_id=round_.pk)

    assert states(round_) == ["running", "completed", "failed", "running"]
    job = start()
    assert said(job) == ["question", "first"]
    with pytest.raises(Conflict):
        services.skip_step(user=cast.member, round_id=round_.pk)


@pytest.mark.usefixtures("personas")
def test_worker_that_dies_three_times_pauses_the_round(cast: Cast) -> None:
    round_ = begin(cast)
    for _ in range(leases.MAX_ATTEMPTS):
        start()
        Run.objects.filter(state=RunState.RUNNING).update(lease_until=None)
        leases.reap()

    assert states(round_)[:2] == ["paused", "failed"]
    assert round_.steps[0]["reason"] == "interrupted"


@pytest.mark.usefixtures("personas")
def test_stopped_step_is_passed_over(cast: Cast) -> None:
    round_ = begin(cast)
    job = start()

    services.cancel_run(user=cast.member, run_id=job.run)

    assert states(round_) == ["running", "cancelled", "running", "waiting"]
    assert said(start()) == ["question"]


@pytest.mark.usefixtures("personas")
def test_cancelled_round_ends_its_run_and_begins_no_other(cast: Cast) -> None:
    round_ = begin(cast)
    answer("first")
    start()

    for user, error in ((cast.reader, Forbidden), (cast.stranger, NotFound)):
        with pytest.raises(error):
            services.cancel_round(user=user, round_id=round_.pk)
    services.cancel_round(user=cast.member, round_id=round_.pk)

    assert (queued(), states(round_)) == ([], ["cancelled", "completed", "cancelled", "cancelled"])
    assert not Run.objects.active().exists()
    assert services.cancel_round(user=cast.member, round_id=round_.pk).ended_at == round_.ended_at


@pytest.mark.usefixtures("personas")
def test_round_ends_when_the_asker_is_removed(cast: Cast) -> None:
    round_ = begin(cast)
    answer("first")

    services.remove_member(user=cast.owner, room_id=cast.room.pk, member_id=cast.member.pk)

    assert (queued(), states(round_)) == ([], ["cancelled", "completed", "failed", "cancelled"])


@pytest.mark.usefixtures("personas")
def test_round_of_a_removed_asker_does_not_go_on_after_a_retry(cast: Cast) -> None:
    round_ = begin(cast)
    failed = fail()
    services.remove_member(user=cast.owner, room_id=cast.room.pk, member_id=cast.member.pk)

    services.retry_run(user=cast.moderator, run_id=failed.pk)
    answer("first")

    assert (queued(), states(round_)) == ([], ["cancelled", "completed", "cancelled", "cancelled"])


@pytest.mark.usefixtures("personas")
@pytest.mark.parametrize("is_paused", [False, True])
def test_round_ends_with_its_message(cast: Cast, *, is_paused: bool) -> None:
    round_ = begin(cast)
    if is_paused:
        fail()

    services.delete_message(user=cast.member, message_id=round_.message_id)

    assert (queued(), states(round_)[0]) == ([], "cancelled")
    assert not Run.objects.active().exists()


@pytest.mark.usefixtures("personas")
def test_round_goes_on_after_its_answer_is_deleted(cast: Cast) -> None:
    round_ = begin(cast)
    job = start()

    services.delete_message(user=cast.moderator, message_id=job.message)

    assert (queued(), states(round_)) == (["two"], ["running", "cancelled", "running", "waiting"])


@pytest.mark.usefixtures("personas")
def test_archived_and_deleted_rooms_have_no_rounds(cast: Cast) -> None:
    round_ = begin(cast)
    services.archive_room(user=cast.owner, room_id=cast.room.pk)
    assert (queued(), states(round_)[0]) == ([], "cancelled")
    services.restore_room(user=cast.owner, room_id=cast.room.pk)
    round_ = begin(cast)

    services.delete_room(user=cast.owner, room_id=cast.room.pk)

    assert (queued(), states(round_)[0]) == ([], "cancelled")


@pytest.mark.usefixtures("personas")
def test_round_goes_on_only_with_the_step_at_which_it_has_paused(cast: Cast) -> None:
    round_ = begin(cast)
    skipped = fail()
    services.skip_step(user=cast.member, round_id=round_.pk)
    failed = fail()

    services.retry_run(user=cast.member, run_id=skipped.pk)
    after_first = states(round_)
    services.retry_run(user=cast.member, run_id=failed.pk)

    assert after_first == ["paused", "failed", "failed", "waiting"]
    assert states(round_) == ["running", "failed", "running", "waiting"]
