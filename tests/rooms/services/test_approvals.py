"""Who may decide on tool calls, and what a decision does."""

import json
from contextlib import suppress
from dataclasses import replace
from itertools import product
from uuid import uuid4

import pytest
from django.db import transaction
from django.test import Client

from accounts.errors import Conflict, Forbidden, NotFound
from accounts.models import AuditEntry, User
from accounts.services import create_token, set_team_role
from agents.tool_types import MAX_ARGUMENTS, MAX_RESULT
from rooms import services
from rooms.models import CallState, Room, Run, ToolCall
from rooms.permissions import set_room_role
from rooms.queries import MAX_BYTES
from rooms.runs.steps import calls, policy, waiting
from rooms.runs.steps.calls import Outcome
from rooms.services.approvals import access_approval
from tests.rooms.acting import (
    LOOK,
    SEND,
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


def people(cast: Cast) -> dict[str, User]:
    names = ("owner", "moderator", "member", "reader", "stranger", "nobody")
    return {name: getattr(cast, name) for name in names}


def may(cast: Cast, asked: Asked) -> set[str]:
    """Return who may decide; the decision itself is tried, and rolled back."""
    found = set()
    for name, user in people(cast).items():
        try:
            with transaction.atomic():
                decide(cast, asked, user=user)
                found.add(name)
                raise Conflict
        except Forbidden:
            assert name in ("member", "reader")
        except NotFound:
            assert name in ("stranger", "nobody")
        except Conflict:
            pass
    return found


@pytest.mark.parametrize(
    ("deciders", "other", "expected"),
    [
        ("asker", False, {"owner", "moderator", "member"}),
        ("moderators", False, {"owner", "moderator"}),
        ("asker", True, {"owner", "moderator"}),
        ("moderators", True, {"owner", "moderator"}),
    ],
)
def test_rule_of_the_tool_and_of_the_room_say_who_may_decide(
    cast: Cast,
    deciders: str,
    *,
    other: bool,
    expected: set[str],
) -> None:
    Room.objects.update(other_decides=other)
    asked = waiting_run(cast)
    ToolCall.objects.update(deciders=deciders)

    assert may(cast, asked) == expected


def test_asked_of_names_the_people_who_may_decide(cast: Cast) -> None:
    set_policy(cast, SEND, "ask")
    asked = waiting_run(cast)

    named = {user.pk: name for name, user in people(cast).items()}
    assert [named[u] for u in map(type(cast.owner.pk), asked.row.asked_of)] == [
        *("member", "owner", "moderator")
    ]


def test_call_that_nobody_may_decide_on_is_denied_at_once(cast: Cast) -> None:
    Room.objects.update(other_decides=True)
    set_room_role([cast.moderator], cast.room, "member")
    set_policy(cast, SEND, "ask")

    assert propose(started(cast, cast.owner), request()) == ["denied"]


@pytest.mark.parametrize("personal", [False, True])
@pytest.mark.parametrize("other", [False, True])
def test_list_of_approvals_has_those_on_which_the_user_may_decide(
    cast: Cast, *, other: bool, personal: bool
) -> None:
    Room.objects.update(other_decides=other)
    asked = waiting_run(cast)

    for deciders, user in product(("asker", "moderators"), people(cast).values()):
        ToolCall.objects.update(deciders=deciders, personal=personal)
        allowed = policy.may_decide(
            cast.refreshed(), asked.run, deciders, [user.pk], personal=personal
        )
        assert policy.calls_to_decide(user).exists() == bool(allowed)


def test_list_of_approvals_has_a_bounded_size(cast: Cast) -> None:
    set_policy(cast, SEND, "ask")
    long = json.dumps({"to": "x" * (MAX_ARGUMENTS - 20)})
    propose(started(cast), *(request(SEND, long) for _ in range(20)))
    _token, secret = create_token(user=cast.member, name="script")
    client = Client(headers={"authorization": f"Bearer {secret}"})

    first = client.get("/api/v1/approvals").json()
    rest = client.get("/api/v1/approvals", {"cursor": first["next"]}).json()

    assert sum(len(each["arguments"]) for each in first["items"]) <= MAX_BYTES
    assert len({each["id"] for page in (first, rest) for each in page["items"]}) == 20
    assert rest["next"] is None


def test_token_of_another_team_lists_no_approval(cast: Cast) -> None:
    waiting_run(cast)
    assert policy.calls_to_decide(cast.member).exists()

    cast.member.scope = replace(cast.member.scope, team_id=uuid4())

    assert not policy.calls_to_decide(cast.member).exists()


def test_second_decision_is_refused_with_the_name_of_the_first(cast: Cast) -> None:
    asked = waiting_run(cast)
    decide(cast, asked, user=cast.moderator)

    with pytest.raises(Conflict) as second:
        decide(cast, asked, "deny")
    with pytest.raises(Conflict) as again:
        decide(cast, asked, user=cast.moderator)

    assert second.value.detail == "Moderator allowed it first."
    assert again.value.detail == "You have decided on this call already."
    assert asked.row.state == CallState.ALLOWED


@pytest.mark.parametrize("outcome", ["allowed", "expired"])
def test_decision_on_an_old_row_changes_nothing(cast: Cast, outcome: Outcome) -> None:
    """The look for overdue calls, for example, reads them before it locks their room."""
    asked = waiting_run(cast)
    old = asked.row
    decide(cast, asked, "deny")
    seq = cast.refreshed().last_seq

    assert calls.decide(old, asked.run, outcome) == []
    waiting._expire(asked.call)

    assert (asked.row.state, asked.row.decided_by) == (CallState.DENIED, cast.member)
    assert cast.refreshed().last_seq == seq


def test_decision_after_a_stop_is_refused(cast: Cast) -> None:
    asked = waiting_run(cast)
    services.cancel_run(user=cast.member, run_id=asked.job.run)

    with pytest.raises(Conflict) as late:
        decide(cast, asked)

    assert late.value.detail == "This answer has ended. There is nothing to decide any more."


def test_decision_on_other_arguments_is_refused(cast: Cast) -> None:
    asked = waiting_run(cast)

    with pytest.raises(Conflict):
        decide(cast, asked, arguments_sha256="0" * 64)

    assert asked.row.state == CallState.ASKED


def test_person_who_was_demoted_meanwhile_cannot_decide(cast: Cast) -> None:
    asked = waiting_run(cast)
    services.put_member(
        user=cast.owner, room_id=cast.room.pk, member_id=cast.moderator.pk, role="reader"
    )

    with pytest.raises(Forbidden):
        decide(cast, asked, user=cast.moderator)

    assert str(cast.moderator.pk) not in asked.row.asked_of


def test_call_that_never_asked_has_no_approval(cast: Cast) -> None:
    set_policy(cast, LOOK, "always")
    call = request(LOOK)
    propose(started(cast), call)

    with pytest.raises(NotFound):
        access_approval(cast.owner, call.id)


def test_decision_for_the_run_holds_for_later_calls_of_the_tool(cast: Cast) -> None:
    asked = waiting_run(cast, LOOK)
    set_policy(cast, SEND, "ask")
    decide(cast, asked, extent="run")
    job = start_again(asked.job.run)

    states = propose(job, request(LOOK, '{"other": 1}'), request(SEND), number=1)

    assert states == ["allowed", "asked"]
    assert ToolCall.objects.get(request=1, name="look").decided_by == cast.member


def test_denial_for_the_run_holds_for_later_calls_of_the_tool(cast: Cast) -> None:
    asked = waiting_run(cast)
    decide(cast, asked, "deny", extent="run", note="No.")
    job = start_again(asked.job.run)

    assert propose(job, request(), number=1) == ["denied"]
    assert ToolCall.objects.get(request=1).note == "No."


def test_decision_for_the_run_ends_with_the_right_of_the_person(cast: Cast) -> None:
    asked = waiting_run(cast, LOOK)
    decide(cast, asked, user=cast.moderator, extent="run")
    job = start_again(asked.job.run)
    set_room_role([cast.moderator], cast.room, "member")

    assert propose(job, request(LOOK), number=1) == ["asked"]


def test_decision_for_the_run_does_not_hold_once_the_tool_changes_something(cast: Cast) -> None:
    asked = waiting_run(cast, LOOK)
    decide(cast, asked, extent="run")
    job = start_again(asked.job.run)

    assert propose(job, request(replace(LOOK, changes=True)), number=1) == ["asked"]


def test_tool_that_changes_something_is_allowed_for_the_run_only_by_an_admin(cast: Cast) -> None:
    asked = waiting_run(cast)
    with pytest.raises(Forbidden):
        decide(cast, asked, user=cast.moderator, extent="run")

    set_team_role(user=cast.owner, team_id=cast.team.pk, member_id=cast.moderator.pk, role="admin")
    decide(cast, asked, user=cast.moderator, extent="run")

    assert propose(start_again(asked.job.run), request(), number=1) == ["allowed"]


def test_decision_is_audited_with_ids_only(cast: Cast) -> None:
    asked = waiting_run(cast)

    decide(cast, asked, "deny", note="CANARY")

    entry = AuditEntry.objects.get(action="approval.decided")
    assert (entry.actor, entry.target_id) == (cast.member, asked.call)
    assert "CANARY" not in f"{entry.before} {entry.after}"


def test_result_is_shown_by_the_asker_or_a_moderator_only(cast: Cast) -> None:
    asked = waiting_run(cast)
    decide(cast, asked)
    job = start_again(asked.job.run)
    with pytest.raises(Conflict):
        services.show_result(user=cast.member, run_id=job.run, call_id=asked.call)
    execute(job, asked.call, "three lamps")
    assert "three lamps" not in str(asked.answer.steps)

    with pytest.raises(Forbidden):
        services.show_result(user=cast.reader, run_id=job.run, call_id=asked.call)
    with pytest.raises(NotFound):
        services.show_result(user=cast.stranger, run_id=job.run, call_id=asked.call)
    services.show_result(user=cast.moderator, run_id=job.run, call_id=asked.call)

    assert asked.answer.steps is not None
    assert asked.answer.steps[0]["shown"] == "three lamps"
    assert asked.row.shown_by == cast.moderator
    assert AuditEntry.objects.filter(action="call.shown").count() == 1


@pytest.mark.parametrize("change", ["", "personal", "demoted", "archived", "deleted", "shown"])
def test_the_result_is_offered_to_exactly_those_who_may_show_it(cast: Cast, change: str) -> None:
    asked = waiting_run(cast)
    decide(cast, asked)
    job = start_again(asked.job.run)
    execute(job, asked.call, "three lamps")
    complete(job)
    if change == "personal":
        ToolCall.objects.update(personal=True)
    elif change == "demoted":
        set_room_role([cast.member], cast.room, "reader")
    elif change == "archived":
        services.archive_room(user=cast.owner, room_id=cast.room.pk)
    elif change == "deleted":
        services.delete_message(user=cast.owner, message_id=job.message)
    elif change == "shown":
        services.show_result(user=cast.member, run_id=job.run, call_id=asked.call)

    offered, allowed = set(), set()
    for name in ("owner", "moderator", "member", "reader"):
        user = people(cast)[name]
        if services.may_show(user, asked.run, [asked.row]):
            offered.add(name)
        with suppress(Forbidden, Conflict), transaction.atomic():
            services.show_result(user=user, run_id=job.run, call_id=asked.call)
            allowed.add(name)
            raise Conflict

    expected = {
        "": {"owner", "moderator", "member"},
        "personal": {"member"},
        "demoted": {"owner", "moderator"},
    }.get(change, set())
    assert offered == expected
    assert change == "shown" or allowed == expected


def test_steps_have_the_start_of_a_long_result_that_is_shown(cast: Cast) -> None:
    asked = waiting_run(cast)
    decide(cast, asked)
    execute(start_again(asked.job.run), asked.call, "x" * (MAX_RESULT + 1))

    services.show_result(user=cast.member, run_id=asked.job.run, call_id=asked.call)

    assert asked.answer.steps is not None
    assert asked.answer.steps[0]["shown"] == "x" * MAX_RESULT + "…"
    assert len(asked.row.result) == MAX_RESULT + 1


def test_arguments_are_seen_by_the_asker_deciders_and_admins(cast: Cast) -> None:
    asked = waiting_run(cast)
    calls = [asked.row]

    seen = {
        name
        for name, user in people(cast).items()
        if services.may_see(user, cast.room, asked.run, calls)
    }

    assert seen == {"owner", "moderator", "member"}
    set_team_role(user=cast.owner, team_id=cast.team.pk, member_id=cast.reader.pk, role="admin")
    assert services.may_see(cast.reader, cast.room, Run.objects.get(), calls)
    cast.reader.scope = replace(cast.reader.scope, names=frozenset({"read", "write"}))
    assert not services.may_see(cast.reader, cast.room, Run.objects.get(), calls)


def test_token_without_the_scope_of_admins_does_not_allow_changes_for_the_run(cast: Cast) -> None:
    asked = waiting_run(cast)
    cast.owner.scope = replace(cast.owner.scope, names=frozenset({"read", "write"}))

    with pytest.raises(Forbidden):
        decide(cast, asked, user=cast.owner, extent="run")
