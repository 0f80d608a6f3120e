"""Personas that ask other personas: whom they may ask, and how often."""

from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone
from pytest_django import Settings

from agents.engine_types import Usage
from agents.models import Persona, PersonaTool
from agents.services import create_demo_persona, set_persona_enabled, update_persona
from agents.tool_types import ToolResult
from rooms import services
from rooms.models import Message, RoomMode, Run
from rooms.runs import lifecycle
from rooms.runs.crews import led
from rooms.runs.crews.led import ASK_PERSONA, MAX_ASKED
from rooms.runs.steps import calls, journal, waiting
from tests.rooms.asking import make_call
from tests.rooms.claiming import claim_and_start
from tests.rooms.conftest import Cast
from tests.rooms.runs.crews.trees import ask, has_tool, lead, request, start, wait

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
    (stored,) = journal.propose(child, 0, "", None, [call])
    assert (stored.state, stored.denial) == ("denied", "not_allowed")


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
def test_tree_has_one_budget(cast: Cast) -> None:
    job = lead(cast)
    assert job.spent.tokens == 0
    ask(job, "two", "three")
    wait(job)
    two, three = start(), start()
    assert (two.spent.tokens, two.spent.share) == (20, 2)
    lifecycle.complete(two, "I am for it.", Usage(3, 400))
    lifecycle.complete(three, "I am against it.", Usage(3, 500))
    for child, seconds in ((two, 30), (three, 20)):  # at the same time
        run = Run.objects.filter(pk=child.run)
        run.update(started_at=F("ended_at") - timedelta(seconds=seconds))

    again = start()

    assert (again.spent.tokens, again.spent.share) == (920, 1)
    assert again.spent.seconds == pytest.approx(30)


@pytest.mark.usefixtures("personas")
@pytest.mark.parametrize("is_queued", [False, True])
def test_hours_of_waiting_are_no_time_of_the_tree(cast: Cast, *, is_queued: bool) -> None:
    job = lead(cast)
    ask(job, "two")
    wait(job)
    child = start()
    Run.objects.filter(pk=child.run).update(started_at=timezone.now() - timedelta(hours=5))
    if not is_queued:
        call = make_call(child.run)
        calls.show(call.run, [call])
    waiting.wait(child, "", None)

    services.cancel_run(user=cast.member, run_id=child.run)

    assert start().spent.seconds < 60
