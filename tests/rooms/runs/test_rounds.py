"""Rounds: personas that answer one message in turn."""

from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.errors import Conflict, Forbidden, Invalid, NotFound
from agents.engine_types import AnswerFailed
from agents.models import Persona
from agents.services import create_demo_persona, set_persona_enabled, update_persona
from rooms import queries, services
from rooms.event_log import events_after
from rooms.models import Message, RoomMode, Round, Run, RunState, Why
from rooms.protocol.failures import (
    ASKER_MAY_NOT_USE,
    PERSONA_MUTED,
    PERSONA_OFF,
    PERSONA_UNBOUND,
)
from rooms.protocol.serializers import round_body
from rooms.runs import leases, lifecycle
from rooms.runs.lifecycle import Job
from tests.rooms.claiming import claim_and_start
from tests.rooms.conftest import Cast

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


def ask(cast: Cast, text: str = "question", **options: Any) -> Round | None:
    posted = services.post_message(user=cast.member, room_id=cast.room.pk, text=text, **options)
    return Round.objects.filter(message=posted.message).first()


def begin(cast: Cast, text: str = "question", **options: Any) -> Round:
    round_ = ask(cast, text, **options)
    assert round_ is not None
    return round_


def start() -> Job:
    taken = claim_and_start("worker")
    assert taken is not None
    assert taken[1] is not None
    return taken[1]


def answer(text: str) -> Message:
    """Claim the next run and complete it with this text; return the answer."""
    job = start()
    lifecycle.complete(job, text, None)
    return Message.objects.get(pk=job.message)


def fail(code: Any = "provider_unavailable") -> Run:
    job = start()
    lifecycle.fail(job, AnswerFailed(code), "")
    return Run.objects.get(pk=job.run)


def queued() -> list[str]:
    runs = Run.objects.filter(state=RunState.QUEUED).order_by("queued_at")
    return list(runs.values_list("persona__handle", flat=True))


def states(round_: Round) -> list[str]:
    round_.refresh_from_db()
    return [round_.state, *(step["state"] for step in round_.steps)]


def said(job: Job) -> list[str]:
    return [turn.text for turn in job.turns]


@pytest.mark.usefixtures("personas")
def test_personas_answer_in_turn_with_the_answers_before(cast: Cast) -> None:
    round_ = begin(cast)

    assert (queued(), states(round_)) == (["one"], ["running", "running", "waiting", "waiting"])
    first = answer("first")
    assert (queued(), states(round_)) == (["two"], ["running", "completed", "running", "waiting"])
    services.post_message(user=cast.owner, room_id=cast.room.pk, text="later", personas=[])
    job = start()
    assert said(job) == ["question", "first"]
    lifecycle.complete(job, "second", None)
    job = start()
    assert said(job) == ["question", "first", "later", "second"]
    lifecycle.complete(job, "third", None)

    assert (queued(), states(round_)) == ([], ["completed"] + ["completed"] * 3)
    runs = Run.objects.filter(round=round_)
    assert {(run.why, run.message_id, run.requested_by) for run in runs} == {
        (Why.ROUND, round_.message_id, cast.member)
    }
    assert first.reply_to_id == round_.message_id


@pytest.mark.usefixtures("personas")
def test_events_of_a_step_come_with_the_end_of_the_step_before(cast: Cast) -> None:
    begin(cast)
    answer("first")

    events = [msgspec.json.decode(each.frame) for each in events_after(cast.room.pk, 0)]
    kinds = [event["type"] for event in events]
    begun = kinds.index("round.changed")
    assert kinds[begun - 1 : begun + 2] == ["message.created", "round.changed", "run.queued"]
    assert kinds[-4:] == ["message.completed", "run.completed", "round.changed", "run.queued"]
    assert events[-1]["run"]["round"] == events[-2]["round"]["id"]
    assert [step["state"] for step in events[-2]["round"]["steps"]] == [
        *("completed", "running", "waiting")
    ]


def test_named_and_mentioned_personas_answer_in_the_order_of_the_author(
    cast: Cast, personas: dict[str, Persona]
) -> None:
    named = begin(cast, personas=[personas["three"].pk, personas["one"].pk])
    mentioned = begin(cast, "@two and @one and @two")

    assert [step["name"] for step in named.steps] == ["Garam", "Garam"]
    assert [UUID(step["persona"]) for step in named.steps] == [
        personas["three"].pk,
        personas["one"].pk,
    ]
    assert [UUID(step["persona"]) for step in mentioned.steps] == [
        personas["two"].pk,
        personas["one"].pk,
    ]


def test_message_for_one_persona_is_no_round(cast: Cast, personas: dict[str, Persona]) -> None:
    assert ask(cast, "@two") is None
    first = answer("first")
    assert ask(cast, "and now?", reply_to=first.pk) is None

    run = Run.objects.get(state=RunState.QUEUED)
    assert (run.persona, run.why, run.round_id) == (personas["two"], Why.REPLY, None)


@pytest.mark.usefixtures("personas")
def test_one_message_can_be_answered_in_turn_in_any_room(cast: Cast) -> None:
    services.update_room(user=cast.owner, room_id=cast.room.pk, mode=RoomMode.EACH)

    assert ask(cast, "@one @two") is None
    assert queued() == ["one", "two"]
    round_ = begin(cast, in_turn=True)

    assert [step["state"] for step in round_.steps] == ["running", "waiting", "waiting"]


def test_muted_and_switched_off_personas_are_in_no_round(
    cast: Cast, personas: dict[str, Persona]
) -> None:
    services.mute_persona(
        user=cast.owner, room_id=cast.room.pk, persona_id=personas["one"].pk, muted=True
    )
    set_persona_enabled(user=cast.owner, persona_id=personas["two"].pk, enabled=False)

    assert ask(cast) is None

    assert queued() == ["three"]


def test_persona_that_may_no_longer_answer_is_passed_over(
    cast: Cast, personas: dict[str, Persona]
) -> None:
    round_ = begin(cast)
    services.unbind_persona(user=cast.owner, room_id=cast.room.pk, persona_id=personas["two"].pk)
    answer("first")

    assert (queued(), states(round_)) == (["three"], ["running", "completed", "skipped", "running"])
    assert round_.steps[1]["reason"] == PERSONA_UNBOUND
    services.unbind_persona(user=cast.owner, room_id=cast.room.pk, persona_id=personas["three"].pk)
    assert states(round_) == ["completed", "completed", "skipped", "skipped"]
    assert round_.steps[2]["reason"] == PERSONA_UNBOUND


def test_each_lost_right_passes_over_its_step(cast: Cast, personas: dict[str, Persona]) -> None:
    round_ = begin(cast)
    set_persona_enabled(user=cast.owner, persona_id=personas["two"].pk, enabled=False)
    personas["three"].grants.all().delete()
    answer("first")

    assert (queued(), states(round_)) == ([], ["completed", "completed", "skipped", "skipped"])
    assert [step.get("reason") for step in round_.steps] == [None, PERSONA_OFF, ASKER_MAY_NOT_USE]


def test_persona_that_is_muted_meanwhile_is_passed_over(
    cast: Cast, personas: dict[str, Persona]
) -> None:
    round_ = begin(cast)

    services.mute_persona(
        user=cast.owner, room_id=cast.room.pk, persona_id=personas["two"].pk, muted=True
    )

    assert states(round_) == ["running", "running", "skipped", "waiting"]
    assert round_.steps[1]["reason"] == PERSONA_MUTED
    answer("first")
    assert queued() == ["three"]


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


def test_new_version_of_a_step_reads_the_answers_before_it(
    cast: Cast, personas: dict[str, Persona]
) -> None:
    round_ = begin(cast, personas=[personas["one"].pk, personas["two"].pk])
    answer("first")
    second = answer("second")
    assert states(round_)[0] == "completed"

    run = Run.objects.get(answer=second)
    services.retry_run(user=cast.member, run_id=run.pk)
    job = start()

    assert said(job) == ["question", "first"]
    lifecycle.complete(job, "better", None)
    assert states(round_) == ["completed", "completed", "completed"]
    assert queued() == []


def test_long_answer_does_not_displace_the_question(
    cast: Cast, personas: dict[str, Persona]
) -> None:
    begin(cast, personas=[personas["one"].pk, personas["two"].pk])
    answer("long " * 20_000)

    job = start()

    assert [text[:8] for text in said(job)] == ["question", "long lon"]


@pytest.mark.usefixtures("personas")
def test_answers_of_a_round_ask_no_other_personas(cast: Cast) -> None:
    services.update_room(user=cast.owner, room_id=cast.room.pk, persona_turns=10)
    begin(cast, "@one @two")

    answer("@two @three?")
    answer("@one @three?")

    assert queued() == []
    assert Run.objects.count() == 2


def test_number_of_personas_is_limited(
    cast: Cast, personas: dict[str, Persona], settings: Settings
) -> None:
    settings.ANSWERS_PER_MESSAGE = 2

    with pytest.raises(Invalid):
        ask(cast, personas=[persona.pk for persona in personas.values()])
    assert Message.objects.count() == 0
    round_ = begin(cast)

    assert len(round_.steps) == 2


@pytest.mark.usefixtures("personas")
def test_full_queue_delays_a_round_that_has_begun_and_refuses_another(
    cast: Cast, settings: Settings
) -> None:
    settings.RATE_LIMITS = True
    settings.RUN_BOUNDS = {**settings.RUN_BOUNDS, "queued_per_room": 1}
    begin(cast)
    job = start()
    ask(cast, "@three")

    lifecycle.complete(job, "first", None)

    assert queued() == ["three", "two"]


@pytest.mark.usefixtures("personas")
def test_message_shows_its_round(cast: Cast) -> None:
    round_ = begin(cast)
    fail()
    round_.refresh_from_db()

    (shown,) = queries.room_state(cast.refreshed(), []).messages[:1]

    assert shown.id == round_.message_id
    assert shown.round == round_body(round_)
    assert round_body(round_).state == "paused"


def test_ordinary_answer_costs_no_query_for_rounds(
    cast: Cast, personas: dict[str, Persona]
) -> None:
    def cost(*asked: str) -> int:
        ask(cast, personas=[personas[handle].pk for handle in asked])
        job = start()
        with CaptureQueriesContext(connection) as queries_:
            lifecycle.complete(job, "answer", None)
        return len(queries_)

    cost("one")
    ordinary = cost("one")

    assert ordinary < cost("one", "two")
    Round.objects.all().delete()
    Run.objects.active().delete()
    assert cost("one") == ordinary
