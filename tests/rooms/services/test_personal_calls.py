"""Calls with the sign-in of the asker: no other person decides on them, or makes them."""

from dataclasses import replace
from typing import Any

import pytest

from accounts.errors import Forbidden
from accounts.ids import new_id
from accounts.models import User
from agents.tool_types import McpSpec, ToolSpec
from rooms import services
from rooms.models import Room, Round, Run, ToolCall
from rooms.permissions import lock_room
from rooms.runs import leases
from rooms.runs.lifecycle import Job
from rooms.runs.steps import accepted_lines, waiting
from rooms.services import approvals
from tests.rooms.acting import (
    LOOK,
    Asked,
    complete,
    decide,
    execute,
    propose,
    request,
    set_policy,
    start_again,
    started,
    waiting_run,
)
from tests.rooms.conftest import Cast

pytestmark = pytest.mark.django_db

SERVER = McpSpec(id=new_id(), team_id=new_id(), url="https://tools.test", user=new_id())
MINE = replace(LOOK, server=SERVER)


def steer(user: User, job: Job, after: int) -> None:
    """Apply a line of the user after a request."""
    services.steer_run(user=user, run_id=job.run, text="do it for me")
    room, run = leases.lock_owned(job.run, job.owner, job.attempt)
    accepted_lines.take(room, run, after)


def with_mine(job: Job) -> Job:
    """Return the job as a worker has it that finds a personal server."""
    return replace(job, spec=replace(job.spec, tools=(MINE,)))


def test_only_the_asker_decides(cast: Cast) -> None:
    asked = waiting_run(cast, MINE)

    assert asked.row.asked_of == [str(cast.member.pk)]
    for user in (cast.moderator, cast.owner):
        with pytest.raises(Forbidden):
            decide(cast, asked, user=user)
    decide(cast, asked)
    assert execute(with_mine(start_again(asked.job.run)), asked.call)


def test_only_the_asker_shows_the_result(cast: Cast) -> None:
    asked = waiting_run(cast, MINE)
    decide(cast, asked)
    job = start_again(asked.job.run)
    execute(job, asked.call)

    with pytest.raises(Forbidden):
        services.show_result(user=cast.moderator, run_id=job.run, call_id=asked.call)
    assert services.show_result(user=cast.member, run_id=job.run, call_id=asked.call).shown_by


def test_call_that_becomes_personal_meanwhile_is_not_shown_by_a_moderator(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = waiting_run(cast)
    decide(cast, asked)
    job = start_again(asked.job.run)
    execute(job, asked.call)

    def lock_late(*args: Any) -> Room:
        ToolCall.objects.update(personal=True)
        return lock_room(*args)

    monkeypatch.setattr(approvals, "lock_room", lock_late)
    with pytest.raises(Forbidden):
        services.show_result(user=cast.moderator, run_id=job.run, call_id=asked.call)

    assert asked.row.shown_by is None


def test_moderators_do_not_see_what_is_sent_and_found(cast: Cast) -> None:
    asked = waiting_run(cast, MINE)

    assert not services.may_see(cast.moderator, cast.room, asked.run, [asked.row])
    assert services.may_see(cast.member, cast.room, asked.run, [asked.row])


def test_call_is_denied_where_the_asker_may_not_decide(cast: Cast) -> None:
    Room.objects.update(other_decides=True)
    set_policy(cast, MINE, "ask")

    assert propose(started(cast), request(MINE)) == ["denied"]


def test_free_call_asks_once_another_user_has_steered(cast: Cast) -> None:
    set_policy(cast, MINE, "always")
    job = started(cast)
    before = request(MINE)
    assert propose(job, before) == ["allowed"]
    steer(cast.moderator, job, 0)

    assert propose(job, request(MINE), number=1) == ["asked"]
    assert execute(job, before.id)  # the model had asked for it before the line


def test_free_call_of_a_run_that_a_steered_run_asks_for_asks(cast: Cast) -> None:
    set_policy(cast, MINE, "always")
    leading = started(cast)
    propose(leading, request(LOOK))
    steer(cast.moderator, leading, 0)
    propose(leading, request(LOOK), number=1)
    complete(leading)
    job = started(cast)
    Run.objects.filter(pk=job.run).update(parent_call=ToolCall.objects.get(request=1))

    assert propose(job, request(MINE)) == ["asked"]


def test_free_call_asks_once_another_user_has_steered_an_answer_that_the_run_gets(
    cast: Cast,
) -> None:
    set_policy(cast, MINE, "always")
    job = started(cast)
    before, asking = request(MINE), request(LOOK)
    propose(job, before, asking)
    child = started(cast)
    Run.objects.filter(pk=child.run).update(parent_call=asking.id)
    propose(child, request(LOOK))
    steer(cast.moderator, child, 0)
    complete(child)

    assert propose(job, request(MINE), number=1) == ["asked"]
    assert execute(job, before.id)


@pytest.mark.parametrize("kind", ["chain", "round"])
def test_free_call_asks_after_a_steered_answer_of_its_chain_or_round(cast: Cast, kind: str) -> None:
    set_policy(cast, MINE, "always")
    first = started(cast)
    propose(first, request(LOOK))
    steer(cast.moderator, first, 0)
    complete(first)
    job = started(cast)
    earlier = Run.objects.get(pk=first.run)
    if kind == "chain":
        Run.objects.filter(pk=job.run).update(message=first.message, origin=earlier.message)
    else:
        round_ = Round.objects.create(room=cast.room, message=earlier.message)
        Run.objects.update(round=round_)

    assert propose(job, request(MINE)) == ["asked"]


def test_lines_to_another_answer_change_nothing(cast: Cast) -> None:
    set_policy(cast, MINE, "always")
    first = started(cast)
    propose(first, request(LOOK))
    steer(cast.moderator, first, 0)
    complete(first)

    assert propose(started(cast), request(MINE)) == ["allowed"]


def test_lines_of_the_asker_change_nothing(cast: Cast) -> None:
    set_policy(cast, MINE, "always")
    job = started(cast)
    propose(job, request(MINE))
    steer(cast.member, job, 0)

    assert propose(job, request(MINE), number=1) == ["allowed"]


@pytest.mark.parametrize("tool", [LOOK, MINE], ids=["team", "personal"])
def test_decision_for_the_run_ends_with_a_line_of_another_user(cast: Cast, tool: ToolSpec) -> None:
    asked = waiting_run(cast, tool)
    decide(cast, asked, extent="run")
    job = start_again(asked.job.run)
    assert propose(job, request(tool), number=1) == ["allowed"]
    steer(cast.moderator, job, 1)

    assert propose(job, request(tool), number=2) == ["asked"]


def test_decision_after_the_line_holds_for_the_run(cast: Cast) -> None:
    set_policy(cast, MINE, "always")
    job = started(cast)
    propose(job, request(MINE))
    steer(cast.moderator, job, 0)
    call = request(MINE)
    propose(job, call, number=1)
    waiting.wait(job, "", None)
    decide(cast, Asked(job, call.id), extent="run")

    assert propose(start_again(job.run), request(MINE), number=2) == ["allowed"]


def test_decision_of_another_user_ends_if_the_server_becomes_personal(cast: Cast) -> None:
    asked = waiting_run(cast, LOOK)
    decide(cast, asked, user=cast.moderator, extent="run")
    job = with_mine(start_again(asked.job.run))

    assert not execute(job, asked.call)
    assert propose(job, request(MINE), number=1) == ["asked"]


def test_rule_that_asks_moderators_is_not_fulfilled_by_the_asker(cast: Cast) -> None:
    set_policy(cast, MINE, "ask", "moderators")

    assert propose(started(cast), request(MINE)) == ["denied"]
