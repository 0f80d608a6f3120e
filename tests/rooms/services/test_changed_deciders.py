"""Open approvals when rights change: whom they ask, and what ends if no person may decide."""

from collections.abc import Callable

import pytest

from accounts.errors import Conflict
from accounts.models import Team, User
from accounts.services import remove_team_member, suspend_team_member
from accounts.services.deactivation import suspend_user
from agents.tools import result_words
from rooms import services
from rooms.models import Room, RunState
from rooms.runs.steps.past import DENIALS
from rooms.services.approvals import outcome_of
from rooms.services.runs import fail_unauthorized_runs_of
from tests.rooms.acting import Asked, decide, kinds, start_again, waiting_run
from tests.rooms.conftest import Cast

pytestmark = pytest.mark.django_db


def put(cast: Cast, user: User, role: str) -> None:
    services.put_member(user=cast.owner, room_id=cast.room.pk, member_id=user.pk, role=role)


def demote(cast: Cast) -> None:
    put(cast, cast.moderator, "member")


def remove(cast: Cast) -> None:
    services.remove_member(user=cast.owner, room_id=cast.room.pk, member_id=cast.moderator.pk)


def remove_from_team(cast: Cast) -> None:
    remove_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.moderator.pk)


def suspend(cast: Cast) -> None:
    suspend_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.moderator.pk)


def deactivate(cast: Cast) -> None:
    suspend_user(person=cast.moderator)


def asked_of(cast: Cast, asked: Asked) -> set[str]:
    names = ("owner", "moderator", "member", "reader")
    people = {str(getattr(cast, name).pk): name for name in names}
    return {people[user] for user in asked.row.asked_of}


def ask_the_moderator(cast: Cast) -> Asked:
    """Let the owner ask in a room where another person decides."""
    Room.objects.update(other_decides=True)
    asked = waiting_run(cast, asker=cast.owner)
    assert asked_of(cast, asked) == {"moderator"}
    return asked


@pytest.mark.parametrize("lose", [demote, remove, remove_from_team, suspend, deactivate])
def test_call_is_denied_when_the_last_person_who_may_decide_is_lost(
    cast: Cast, lose: Callable[[Cast], None]
) -> None:
    asked = ask_the_moderator(cast)

    lose(cast)

    assert (asked.row.state, asked.row.denial) == ("denied", "no_decider")
    assert outcome_of(asked.row) == "withdrawn"
    (step,) = asked.answer.steps or []
    assert (step["state"], step["denial"]) == ("denied", "no_decider")
    assert asked.run.state == RunState.QUEUED
    (former,) = start_again(asked.job.run).past
    words = result_words.of_call(former.calls[0]).text
    assert words == f"{result_words.DENIED} {DENIALS['no_decider']}"


def test_moderator_who_comes_later_reads_why_there_is_nothing_to_decide(cast: Cast) -> None:
    asked = ask_the_moderator(cast)
    demote(cast)
    put(cast, cast.reader, "moderator")

    with pytest.raises(Conflict) as late:
        decide(cast, asked, user=cast.reader)

    assert str(late.value.detail).startswith("No person in this room may decide on this call")


def test_call_of_the_last_moderator_is_denied_when_another_person_has_to_decide(
    cast: Cast,
) -> None:
    demote(cast)
    asked = waiting_run(cast, asker=cast.owner)

    services.update_room(user=cast.owner, room_id=cast.room.pk, other_decides=True)

    assert asked.row.denial == "no_decider"


def test_call_is_denied_when_its_decider_needs_a_second_factor(cast: Cast) -> None:
    asked = ask_the_moderator(cast)
    Team.objects.update(require_mfa=True)

    fail_unauthorized_runs_of(askers=[cast.moderator], teams=[cast.team.pk])

    assert asked.row.denial == "no_decider"


def test_new_moderator_is_asked_instead_of_the_one_who_goes(cast: Cast) -> None:
    asked = ask_the_moderator(cast)

    put(cast, cast.reader, "moderator")
    assert asked_of(cast, asked) == {"moderator", "reader"}
    demote(cast)

    assert asked_of(cast, asked) == {"reader"}
    assert kinds(cast, 2) == ["member.changed", "approval.requested"]
    decide(cast, asked, user=cast.reader)
    assert asked.row.decided_by == cast.reader


def test_open_calls_ask_the_next_owner_of_the_room(cast: Cast) -> None:
    demote(cast)
    Room.objects.update(other_decides=True)
    asked = waiting_run(cast)
    assert asked_of(cast, asked) == {"owner"}

    suspend_user(person=cast.owner)

    assert asked_of(cast, asked) == {"moderator"}  # who has joined first
    assert asked.row.state == "asked"


def test_change_that_moves_no_decider_publishes_nothing(cast: Cast) -> None:
    waiting_run(cast)

    put(cast, cast.reader, "member")

    assert kinds(cast, 1) == ["member.changed"]
