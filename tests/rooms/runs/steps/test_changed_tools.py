"""A call is bound to the definition of its tool that the model had and people have seen."""

from dataclasses import replace

import pytest

from accounts.errors import Conflict
from agents.models import Tool
from agents.tools import result_words
from rooms.models import CallState, RunState, ToolCall
from rooms.runs.steps import journal
from rooms.runs.steps.past import DENIALS
from rooms.services.approvals import outcome_of
from tests.rooms.acting import (
    LOOK,
    SEND,
    Asked,
    decide,
    lose,
    propose,
    request,
    set_policy,
    start_again,
    started,
    waiting_run,
)
from tests.rooms.conftest import Cast

pytestmark = pytest.mark.django_db

OTHER = replace(SEND, sha256="b")
CHANGED = f"{result_words.DENIED} {DENIALS['changed']}"


def change(*, is_approved: bool = True) -> None:
    """Let the server describe its tools differently; an admin approves that at once, or not."""
    Tool.objects.update(sha256="b", **({"approved_sha256": "b"} if is_approved else {}))


def step(asked: Asked) -> dict[str, object]:
    (found,) = asked.answer.steps or []
    return dict(found)


@pytest.mark.parametrize("is_approved", [True, False])
def test_call_whose_tool_has_changed_is_not_executed_after_the_decision(
    cast: Cast, *, is_approved: bool
) -> None:
    asked = waiting_run(cast)
    decide(cast, asked)
    change(is_approved=is_approved)
    job = start_again(asked.job.run)

    refusal = journal.begin(job, asked.call)

    assert refusal is not None
    assert refusal.text == CHANGED
    assert (step(asked)["state"], step(asked)["denial"]) == ("denied", "changed")
    assert outcome_of(asked.row) == "allowed"  # as the person has decided
    lose(job)
    (former,) = start_again(job.run).past
    assert result_words.of_call(former.calls[0]).text == CHANGED


@pytest.mark.parametrize("is_approved", [True, False])
def test_open_call_whose_tool_has_changed_cannot_be_allowed(
    cast: Cast, *, is_approved: bool
) -> None:
    asked = waiting_run(cast)
    change(is_approved=is_approved)

    with pytest.raises(Conflict) as refused:
        decide(cast, asked)
    with pytest.raises(Conflict) as again:
        decide(cast, asked, "deny")

    assert str(refused.value.detail).startswith("The tool has changed since this was asked")
    assert again.value.detail == refused.value.detail
    assert (asked.row.state, asked.row.denial, asked.row.decided_by) == ("denied", "changed", None)
    assert outcome_of(asked.row) == "withdrawn"
    assert step(asked)["denial"] == "changed"
    assert asked.run.state == RunState.QUEUED  # the model goes on, and gets the reason
    (former,) = start_again(asked.job.run).past
    assert result_words.of_call(former.calls[0]).text == CHANGED


def test_open_call_whose_tool_has_changed_can_be_denied(cast: Cast) -> None:
    asked = waiting_run(cast)
    change()

    decide(cast, asked, "deny")

    assert (asked.row.state, asked.row.denial) == ("denied", "")


def test_call_of_a_definition_that_is_out_of_date_is_not_even_asked(cast: Cast) -> None:
    set_policy(cast, SEND, "ask")
    job = started(cast)
    change()

    assert propose(job, request()) == ["denied"]
    assert ToolCall.objects.get().denial == "changed"


def test_policy_that_was_set_again_holds_for_the_new_definition_only(cast: Cast) -> None:
    set_policy(cast, SEND, "always")
    job = started(cast)
    call = request()
    assert propose(job, call) == ["allowed"]
    change()
    set_policy(cast, SEND, "always")

    assert journal.begin(job, call.id) is not None
    assert ToolCall.objects.get().denial == "changed"
    assert propose(job, request(OTHER), number=1) == ["allowed"]


@pytest.mark.parametrize(("decision", "state"), [("allow", "asked"), ("deny", "denied")])
def test_permission_for_the_run_ends_with_the_definition(
    cast: Cast, decision: str, state: str
) -> None:
    asked = waiting_run(cast, LOOK)
    decide(cast, asked, decision, extent="run")
    job = start_again(asked.job.run)
    change()

    assert propose(job, request(replace(LOOK, sha256="b")), number=1) == [state]


def test_call_of_an_older_release_is_bound_to_no_definition(cast: Cast) -> None:
    asked = waiting_run(cast)
    ToolCall.objects.update(definition_sha256="")
    change()

    decide(cast, asked)

    assert journal.begin(start_again(asked.job.run), asked.call) is None
    assert asked.row.state == CallState.RUNNING
