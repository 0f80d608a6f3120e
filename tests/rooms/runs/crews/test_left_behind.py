"""What a worker of an older version has left: its runs end without what waits for them."""

import pytest

from agents.engine_types import Usage
from agents.services import create_demo_persona, update_persona
from rooms import services
from rooms.models import RoomMode, RunState, ToolCall
from rooms.runs import lifecycle
from rooms.runs.crews import round_steps, trees
from rooms.runs.crews.left_behind import go_on_with_left_behind
from tests.rooms.conftest import Cast
from tests.rooms.runs.crews.trees import ask, lead, results, start, state, wait
from tests.rooms.runs.crews.turns import answer, begin, queued, states

pytestmark = pytest.mark.django_db


@pytest.fixture
def crew(cast: Cast) -> Cast:
    """A room with the personas `one` and `two`."""
    update_persona(user=cast.owner, persona_id=cast.persona.pk, handle="one")
    persona = create_demo_persona(user=cast.owner, team_id=cast.team.pk)
    update_persona(user=cast.owner, persona_id=persona.pk, handle="two")
    services.bind_persona(user=cast.owner, room_id=cast.room.pk, persona_id=persona.pk)
    return cast


def test_round_whose_step_has_ended_goes_on(crew: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    services.update_room(user=crew.owner, room_id=crew.room.pk, mode=RoomMode.ROUND)
    round_ = begin(crew)
    assert go_on_with_left_behind() == 0
    with monkeypatch.context() as older:
        older.setattr(round_steps, "go_on", lambda *_: None)
        answer("first")
    assert (queued(), states(round_)) == ([], ["running", "running", "waiting"])

    assert go_on_with_left_behind() == 1

    assert (queued(), states(round_)) == (["two"], ["running", "completed", "running"])
    assert go_on_with_left_behind() == 0


def test_run_gets_the_answer_that_it_waits_for(crew: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    job = led(crew)
    with monkeypatch.context() as older:
        older.setattr(trees, "close_calls", lambda *_: None)
        lifecycle.complete(start(), "I am for it.", Usage(3, 4))
    assert (state(job), results()) == (RunState.WAITING, [("running", "")])

    assert go_on_with_left_behind() == 1

    assert (state(job), results()) == (RunState.QUEUED, [("done", "I am for it.")])


def test_run_that_waits_for_nothing_is_queued(crew: Cast) -> None:
    job = led(crew)
    assert go_on_with_left_behind() == 0
    ToolCall.objects.update(state="done")

    assert go_on_with_left_behind() == 1

    assert state(job) == RunState.QUEUED


def led(cast: Cast) -> lifecycle.Job:
    """Let a persona ask another one and wait; return its run."""
    services.update_room(
        user=cast.owner, room_id=cast.room.pk, mode=RoomMode.LED, lead=cast.persona.pk
    )
    job = lead(cast)
    assert ask(job, "@two") == [None]
    wait(job)
    return job
