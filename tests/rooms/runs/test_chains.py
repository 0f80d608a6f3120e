"""Personas that ask each other: the answers after an answer, and the limits that stop them."""

import msgspec
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.errors import Conflict, Forbidden, NotFound, RateLimited
from agents.models import Persona
from agents.services import create_demo_persona, set_persona_enabled, update_persona
from rooms import services
from rooms.event_log import events_after
from rooms.models import AnswerPolicy, Message, Run, RunState, Why
from rooms.runs import lifecycle
from rooms.runs.chains import QUEUE_IS_FULL
from tests.rooms.claiming import claim_and_start
from tests.rooms.conftest import Cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def personas(cast: Cast) -> dict[str, Persona]:
    """Three personas of the room; `one` answers by default."""
    update_persona(user=cast.owner, persona_id=cast.persona.pk, handle="one")
    others = {"one": cast.persona}
    for handle in ("two", "three"):
        persona = create_demo_persona(user=cast.owner, team_id=cast.team.pk)
        others[handle] = update_persona(user=cast.owner, persona_id=persona.pk, handle=handle)
        services.bind_persona(user=cast.owner, room_id=cast.room.pk, persona_id=persona.pk)
    return others


def allow(cast: Cast, turns: int) -> None:
    services.update_room(user=cast.owner, room_id=cast.room.pk, persona_turns=turns)


def ask(cast: Cast, text: str = "question") -> None:
    services.post_message(user=cast.member, room_id=cast.room.pk, text=text)


def answer(text: str) -> Message:
    """Claim the next run and complete it with this text; return the answer."""
    taken = claim_and_start("worker")
    assert taken is not None
    assert taken[1] is not None
    lifecycle.complete(taken[1], text, None)
    return Message.objects.get(pk=taken[1].message)


def queued() -> list[str]:
    runs = Run.objects.filter(state=RunState.QUEUED).order_by("queued_at")
    return list(runs.values_list("persona__handle", flat=True))


def kinds(cast: Cast) -> list[str]:
    return [event.type for event in events_after(cast.room.pk, 0)]


@pytest.mark.usefixtures("personas")
def test_persona_asks_no_other_unless_the_room_allows_it(cast: Cast) -> None:
    ask(cast)
    answer("@two, what do you think?")

    assert queued() == []
    assert "turns.capped" not in kinds(cast)


def test_mentioned_persona_answers_as_the_person_who_asked(
    cast: Cast, personas: dict[str, Persona]
) -> None:
    allow(cast, 2)
    ask(cast)

    first = answer("@two and @one, what do you think?")

    run = Run.objects.get(state=RunState.QUEUED)
    assert (run.persona, run.message, run.requested_by) == (personas["two"], first, cast.member)
    assert (run.why, run.origin_id) == (Why.MENTION, first.reply_to_id)
    assert kinds(cast)[-3:] == ["message.completed", "run.completed", "run.queued"]


@pytest.mark.usefixtures("personas")
@pytest.mark.parametrize(
    "text", ["", "No further question.", "`@two`", "> @two said so", "@one talks to itself"]
)
def test_answer_without_a_mention_asks_no_persona(cast: Cast, text: str) -> None:
    allow(cast, 2)
    ask(cast)

    answer(text)

    assert queued() == []
    assert "turns.capped" not in kinds(cast)


@pytest.mark.usefixtures("personas")
def test_chain_stops_at_the_limit_of_the_room(cast: Cast) -> None:
    allow(cast, 2)
    ask(cast)

    answer("@two?")
    answer("@three?")
    last = answer("@one?")

    assert queued() == []
    last.refresh_from_db()
    assert last.capped_at == 2
    assert kinds(cast)[-1] == "turns.capped"


@pytest.mark.usefixtures("personas")
def test_chain_stops_at_the_limit_of_the_server(cast: Cast, settings: Settings) -> None:
    settings.ANSWERS_PER_MESSAGE = 3
    allow(cast, 10)
    ask(cast, "@one @two")  # both count

    answer("@three?")
    assert queued() == ["two", "three"]
    last = answer("@one?")

    assert queued() == ["three"]
    last.refresh_from_db()
    assert last.capped_at == 3


@pytest.mark.usefixtures("personas")
def test_answers_that_still_fit_are_given(cast: Cast) -> None:
    allow(cast, 1)
    ask(cast)

    first = answer("@two and @three?")

    assert queued() == ["two"]
    first.refresh_from_db()
    assert first.capped_at == 1


@pytest.mark.usefixtures("personas")
def test_next_message_of_a_person_begins_another_chain(cast: Cast) -> None:
    allow(cast, 1)
    for _ in range(2):
        ask(cast)
        answer("@two?")
        answer("done")

    assert Run.objects.filter(state=RunState.COMPLETED).count() == 4
    assert "turns.capped" not in kinds(cast)


@pytest.mark.usefixtures("personas")
def test_moderator_continues_what_a_limit_has_stopped(cast: Cast) -> None:
    allow(cast, 1)
    ask(cast)
    first = answer("@two and @three?")
    answer("done")

    _answer, runs = services.continue_answers(user=cast.moderator, message_id=first.pk)

    assert queued() == ["three"]
    assert [run.requested_by for run in runs] == [cast.moderator]
    first.refresh_from_db()
    assert first.capped_at is None
    answer("@one?")  # the chain has its limits again
    assert queued() == ["one"]
    with pytest.raises(Conflict):
        services.continue_answers(user=cast.moderator, message_id=first.pk)


@pytest.mark.usefixtures("personas")
def test_only_moderators_continue(cast: Cast) -> None:
    allow(cast, 1)
    ask(cast)
    first = answer("@two and @three?")

    for user, error in ((cast.member, Forbidden), (cast.stranger, NotFound)):
        with pytest.raises(error):
            services.continue_answers(user=user, message_id=first.pk)
    assert queued() == ["two"]


@pytest.mark.usefixtures("personas")
def test_chain_ends_with_the_right_of_the_person_who_asked(cast: Cast) -> None:
    allow(cast, 2)
    ask(cast)
    answer("@two?")

    services.remove_member(user=cast.owner, room_id=cast.room.pk, member_id=cast.member.pk)

    assert queued() == []
    assert set(Run.objects.values_list("state", flat=True)) == {"completed", "failed"}


def test_persona_asks_no_persona_that_the_person_may_not_use(
    cast: Cast, personas: dict[str, Persona]
) -> None:
    allow(cast, 2)
    personas["two"].grants.all().delete()
    set_persona_enabled(user=cast.owner, persona_id=personas["three"].pk, enabled=False)
    ask(cast)

    answer("@two and @three?")

    assert queued() == []


@pytest.mark.usefixtures("personas")
def test_room_in_which_no_persona_answers_has_no_chains(cast: Cast) -> None:
    allow(cast, 2)
    ask(cast)
    services.update_room(user=cast.owner, room_id=cast.room.pk, answer_policy=AnswerPolicy.OFF)

    answer("@two?")

    assert queued() == []


@pytest.mark.usefixtures("personas")
def test_full_queue_stops_the_chain_and_not_the_answer(cast: Cast, settings: Settings) -> None:
    settings.RATE_LIMITS = True
    settings.RUN_BOUNDS = {**settings.RUN_BOUNDS, "queued_per_room": 1}
    allow(cast, 2)
    ask(cast)
    taken = claim_and_start("worker")
    ask(cast)

    assert taken is not None
    assert taken[1] is not None
    lifecycle.complete(taken[1], "@two?", None)

    stopped = Message.objects.get(pk=taken[1].message)
    assert (stopped.text, stopped.capped_at) == ("@two?", QUEUE_IS_FULL)
    capped = msgspec.json.decode(events_after(cast.room.pk, 0)[-1].frame)
    assert (capped["type"], capped["limit"], capped["reason"]) == ("turns.capped", 0, "queue")
    with pytest.raises(RateLimited):
        services.continue_answers(user=cast.moderator, message_id=stopped.pk)
    settings.RATE_LIMITS = False
    services.continue_answers(user=cast.moderator, message_id=stopped.pk)
    assert queued() == ["one", "two"]


@pytest.mark.usefixtures("personas")
def test_ordinary_answer_costs_no_query_for_chains(cast: Cast) -> None:
    def cost() -> int:
        ask(cast)
        taken = claim_and_start("worker")
        assert taken is not None
        assert taken[1] is not None
        with CaptureQueriesContext(connection) as queries:
            lifecycle.complete(taken[1], "@two, what do you think?", None)
        return len(queries)

    cost()
    ordinary = cost()
    allow(cast, 2)
    assert ordinary < cost() <= ordinary + 12
