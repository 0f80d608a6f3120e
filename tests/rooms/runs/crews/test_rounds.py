"""Rounds: who answers in which turn, and what each persona reads."""

from uuid import UUID

import msgspec
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.errors import Invalid
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
from rooms.runs import lifecycle
from tests.rooms.conftest import Cast
from tests.rooms.runs.crews.turns import answer, ask, begin, fail, queued, said, start, states

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


def test_persona_that_is_muted_during_a_round_is_passed_over(
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
