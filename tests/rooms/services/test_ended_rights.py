"""A right that ends also ends the running answers that need it, in the same transaction."""

from collections.abc import Callable
from uuid import UUID

import pytest
from allauth.mfa.models import Authenticator
from django.db import connection
from django.db.models import Q
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from accounts.models import TeamRole
from accounts.services import (
    delete_team,
    remove_team_member,
    require_mfa,
    set_team_role,
    suspend_team_member,
    suspend_user,
)
from accounts.views.factors import audited_factor_changes
from agents import services as agents
from rooms import services
from rooms.models import Run, RunState
from rooms.runs.crews.rights import unauthorized
from rooms.runs.ending import fail_unauthorized_runs
from tests.rooms.claiming import claim_and_start
from tests.rooms.conftest import Cast

pytestmark = pytest.mark.django_db


def team_of(cast: Cast) -> dict[str, UUID]:
    return {"team_id": cast.team.pk, "member_id": cast.member.pk}


def give_factor(user: object) -> None:
    Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={})


def demand_factor(cast: Cast) -> None:
    give_factor(cast.owner)
    require_mfa(user=cast.owner, team_id=cast.team.pk, required=True)


def remove_last_factor(cast: Cast) -> None:
    for user in (cast.owner, cast.member):
        give_factor(user)
    require_mfa(user=cast.owner, team_id=cast.team.pk, required=True)
    assert Run.objects.get().state == RunState.RUNNING
    request = RequestFactory().post("/")
    request.user = cast.member
    with audited_factor_changes(request):  # as each page that removes a factor does
        Authenticator.objects.filter(user=cast.member).delete()


def restrict(cast: Cast, grants: list[agents.Grant]) -> None:
    agents.put_grants(user=cast.owner, persona_id=cast.persona.pk, grants=grants)


def become_guest(cast: Cast) -> None:
    """A guest keeps the private room, and loses a persona that only members may use."""
    restrict(cast, [agents.Grant(frozenset({"use"}), role=TeamRole.MEMBER)])
    assert Run.objects.get().state == RunState.RUNNING
    set_team_role(user=cast.owner, **team_of(cast), role=TeamRole.GUEST)


def confine(cast: Cast) -> None:
    services.confine_persona(user=cast.owner, persona_id=cast.persona.pk, room_ids=[])


# Each way in which a right ends that an answer needs. The asker is `member`.
ENDS: dict[str, Callable[[Cast], object]] = {
    "account deactivated": lambda c: suspend_user(person=c.member),
    "second factor demanded": demand_factor,
    "last factor removed": remove_last_factor,
    "removed from the team": lambda c: remove_team_member(user=c.owner, **team_of(c)),
    "left the team": lambda c: remove_team_member(user=c.member, **team_of(c)),
    "suspended in the team": lambda c: suspend_team_member(user=c.owner, **team_of(c)),
    "became a guest": become_guest,
    "removed from the room": lambda c: services.remove_member(
        user=c.owner, room_id=c.room.pk, member_id=c.member.pk
    ),
    "left the room": lambda c: services.remove_member(
        user=c.member, room_id=c.room.pk, member_id=c.member.pk
    ),
    "became a reader": lambda c: services.put_member(
        user=c.owner, room_id=c.room.pk, member_id=c.member.pk, role="reader"
    ),
    "may not use the persona": lambda c: restrict(c, []),
    "persona switched off": lambda c: agents.set_persona_enabled(
        user=c.owner, persona_id=c.persona.pk, enabled=False
    ),
    "persona unbound": lambda c: services.unbind_persona(
        user=c.owner, room_id=c.room.pk, persona_id=c.persona.pk
    ),
    "persona confined": confine,
    "persona deleted": lambda c: agents.delete_persona(user=c.owner, persona_id=c.persona.pk),
    "room archived": lambda c: services.archive_room(user=c.owner, room_id=c.room.pk),
    "room deleted": lambda c: services.delete_room(user=c.owner, room_id=c.room.pk),
    "team deleted": lambda c: delete_team(user=c.owner, team_id=c.team.pk, name="Team"),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_end_of_a_right_ends_a_running_answer(cast: Cast, end: Callable[[Cast], object]) -> None:
    posted = services.post_message(user=cast.member, room_id=cast.room.pk, text="question")
    claimed = claim_and_start("worker")
    assert claimed is not None

    end(cast)

    run = Run.objects.get(pk=posted.runs[0])
    assert run.state in (RunState.FAILED, RunState.CANCELLED)
    assert run.lease_owner == ""


@pytest.mark.parametrize("end", ["account deactivated", "second factor demanded"])
def test_answers_of_other_people_go_on(cast: Cast, end: str) -> None:
    services.post_message(user=cast.member, room_id=cast.room.pk, text="mine")
    others = services.post_message(user=cast.owner, room_id=cast.room.pk, text="not mine")

    ENDS[end](cast)

    assert [run.pk for run in Run.objects.active()] == others.runs


def queue_runs(cast: Cast, count: int) -> None:
    """Queue runs of three people; a third of them was asked by `member`."""
    askers = [cast.member, cast.owner, cast.moderator]
    posted = services.post_message(user=cast.owner, room_id=cast.room.pk, text="q", personas=[])
    Run.objects.bulk_create(
        Run(
            room=cast.room,
            team=cast.team,
            message=posted.message,
            persona=cast.persona,
            requested_by=askers[number % 3],
        )
        for number in range(count)
    )


def role_change_queries(cast: Cast, count: int, role: str) -> int:
    queue_runs(cast, count - Run.objects.active().count())
    with CaptureQueriesContext(connection) as queries:
        services.put_member(
            user=cast.owner, room_id=cast.room.pk, member_id=cast.member.pk, role=role
        )
    return len(queries)


def test_cost_of_a_role_change_does_not_depend_on_the_waiting_runs(cast: Cast) -> None:
    """The right to ask remains: no run is read. It ends: the runs of one person are judged."""
    kept = {role_change_queries(cast, n, "moderator" if n % 2 else "member") for n in (1, 100, 301)}
    assert len(kept) == 1

    with CaptureQueriesContext(connection) as none:
        services.put_member(
            user=cast.owner, room_id=cast.room.pk, member_id=cast.member.pk, role="reader"
        )
    assert Run.objects.active().count() == 200
    assert len(none) <= kept.pop() + 9


def test_cost_of_judging_does_not_depend_on_the_number_of_runs(cast: Cast) -> None:
    costs = []
    for count in (1, 100, 300):
        queue_runs(cast, count - Run.objects.active().count())
        with CaptureQueriesContext(connection) as queries:
            fail_unauthorized_runs(cast.refreshed(), Q(persona=cast.persona))
        costs.append(len(queries) - 1)  # without the query of `refreshed`

    assert Run.objects.active().count() == 300
    assert costs == [costs[0]] * 3
    assert costs[0] <= 4


def test_judging_many_runs_equals_judging_each(cast: Cast) -> None:
    queue_runs(cast, 30)
    restricted = agents.Grant(frozenset({"use"}), user=cast.moderator.pk)
    restrict(cast, [restricted])

    active = list(Run.objects.active().select_related("persona"))

    assert {run.requested_by for run in active} == {cast.owner, cast.moderator}
    for run in active:
        assert unauthorized(cast.refreshed(), [run]) == {}
