"""Who goes next, who is passed over, and who may not wait at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.errors import RateLimited
from accounts.models import TeamRole, User
from accounts.services import create_team
from accounts.services.teams import add_team_member
from agents.services import create_demo_persona
from rooms import services
from rooms.event_log import events_after
from rooms.models import Message, Room, Run, RunState, TeamQuota
from rooms.runs import leases, lifecycle, queue
from tests.rooms.conftest import Cast, make_user

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Team:
    """A team with two rooms and two people who ask in both."""

    people: tuple[User, User]
    rooms: tuple[Room, Room]

    def ask(self, times: int = 1, *, room: int = 0, person: int = 0) -> list[UUID]:
        """Put runs in line; all but the first by hand, because a thousand are many."""
        asker, where = self.people[person], self.rooms[room]
        posted = services.post_message(user=asker, room_id=where.pk, text="hello")
        first = Run.objects.get(pk=posted.runs[0])
        more = [
            Run(
                room=where,
                team_id=where.team_id,
                message=posted.message,
                persona_id=first.persona_id,
                requested_by=asker,
            )
            for _ in range(times - 1)
        ]
        return [first.pk, *(run.pk for run in Run.objects.bulk_create(more))]

    def own(self, **bounds: int) -> None:
        TeamQuota.objects.update_or_create(team_id=self.rooms[0].team_id, defaults=bounds)


def make_team(name: str) -> Team:
    owner, member = make_user(f"{name}owner"), make_user(f"{name}member")
    team = create_team(user=owner, name=name)
    add_team_member(team, member, TeamRole.MEMBER)
    persona = create_demo_persona(user=owner, team_id=team.pk)
    rooms = [
        services.create_room(user=owner, team_id=team.pk, name=f"{name}{n}", personas=[persona.pk])
        for n in range(2)
    ]
    for room in rooms:
        services.put_member(user=owner, room_id=room.pk, member_id=member.pk, role="member")
    return Team((owner, member), (rooms[0], rooms[1]))


@pytest.fixture
def noisy(db: None) -> Team:
    return make_team("noisy")


@pytest.fixture
def quiet(db: None) -> Team:
    return make_team("quiet")


@pytest.fixture
def bounded(settings: Settings) -> None:
    """Bounds as in production; the tests' own server has none."""
    settings.RATE_LIMITS = True


def claimed(times: int) -> list[UUID | None]:
    return [queue.claim("worker") for _ in range(times)]


def end(*run_ids: UUID | None) -> None:
    Run.objects.filter(pk__in=[run_id for run_id in run_ids if run_id]).update(
        state=RunState.COMPLETED
    )


def test_a_thousand_waiting_runs_hold_up_no_other_team(noisy: Team, quiet: Team) -> None:
    many = noisy.ask(1_000)
    busy = claimed(20)
    (one,) = quiet.ask()

    assert busy == many[:20]
    assert queue.claim("worker") == one
    assert queue.claim("worker") == many[20]


def test_teams_with_as_many_running_take_turns(noisy: Team, quiet: Team) -> None:
    first, second = noisy.ask(4), quiet.ask(2)

    order = []
    for _ in range(6):
        run_id = queue.claim("worker")
        order.append(run_id)
        end(run_id)

    assert order == [first[0], second[0], first[1], second[1], first[2], first[3]]


def test_a_claim_finds_its_run_by_the_index(noisy: Team, quiet: Team) -> None:
    """However many have ended, and however many wait: no query reads them all."""
    noisy.ask(50)
    quiet.ask()

    with CaptureQueriesContext(connection) as captured:
        assert queue.claim("worker") is not None

    reads = [query["sql"] for query in captured if query["sql"].startswith("SELECT")]
    with connection.cursor() as cursor:
        plans = [
            [str(row[3]) for row in cursor.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()]
            for sql in reads
        ]
    assert len(reads) <= 4
    steps = [step for plan in plans for step in plan]
    assert any("run_queue" in step for step in steps)
    assert not [step for step in steps if step.startswith("SCAN") and "rooms_run" in step]


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize(
    ("bound", "others"),
    [
        ("runs_per_user", {"person": 1}),
        ("runs_per_room", {"person": 1, "room": 1}),
        ("runs_per_team", None),
    ],
)
def test_whoever_has_enough_running_is_passed_over(
    noisy: Team, quiet: Team, bound: str, others: dict[str, int] | None
) -> None:
    noisy.own(**{bound: 2})
    many = noisy.ask(5)
    expected = many[:2] + (noisy.ask(**others) if others else []) + quiet.ask()

    got = claimed(6)

    assert [run for run in got if run] != []
    assert {run for run in got if run} == set(expected)
    end(many[0])
    assert queue.claim("worker") == many[2]


@pytest.mark.usefixtures("bounded")
def test_the_servers_bounds_hold_for_who_has_none_of_their_own(
    noisy: Team, quiet: Team, settings: Settings
) -> None:
    settings.RUN_BOUNDS = {**settings.RUN_BOUNDS, "runs_per_team": 1}
    quiet.own(runs_per_team=2)
    noisy.ask(3)
    quiet.ask(3)

    got = [run for run in claimed(6) if run]

    teams = [Run.objects.get(pk=run).team_id for run in got]
    assert sorted(map(teams.count, set(teams))) == [1, 2]


def test_with_limits_off_nobody_is_passed_over(noisy: Team) -> None:
    noisy.own(runs_per_user=1, queued_per_user=1)

    many = noisy.ask(3)

    assert claimed(3) == many


def test_the_last_slots_are_for_teams_that_have_nothing_running(noisy: Team, quiet: Team) -> None:
    noisy.ask(2)
    queue.claim("worker")

    assert queue.claim("worker", idle_teams_only=True) is None
    (one,) = quiet.ask()
    assert queue.claim("worker", idle_teams_only=True) == one
    assert queue.claim("worker", idle_teams_only=True) is None


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize(
    ("bound", "elsewhere"),
    [
        ("queued_per_user", {"person": 1}),
        ("queued_per_room", {"room": 1}),
        ("queued_per_team", None),
    ],
)
def test_beyond_the_bound_nobody_is_let_into_the_line_and_is_told_so(
    noisy: Team, quiet: Team, bound: str, elsewhere: dict[str, int] | None
) -> None:
    noisy.own(**{bound: 2})
    noisy.ask(2)
    said = Message.objects.count()

    with pytest.raises(RateLimited) as refused:
        noisy.ask()

    assert refused.value.retry_after == queue.RETRY_SECONDS
    assert Message.objects.count() == said
    quiet.ask()
    if elsewhere is not None:
        noisy.ask(**elsewhere)


@pytest.mark.usefixtures("bounded")
def test_what_asks_nobody_may_be_said_however_long_the_line(noisy: Team) -> None:
    noisy.own(queued_per_team=1)
    noisy.ask()

    posted = services.post_message(
        user=noisy.people[0], room_id=noisy.rooms[0].pk, text="by the way", personas=[]
    )

    assert posted.runs == []


@pytest.mark.usefixtures("bounded")
def test_a_retry_waits_in_the_same_line(noisy: Team) -> None:
    noisy.own(queued_per_user=1)
    (stopped,) = noisy.ask()
    services.cancel_run(user=noisy.people[0], run_id=stopped)
    noisy.ask()

    with pytest.raises(RateLimited):
        services.retry_run(user=noisy.people[0], run_id=stopped)


def positions_told(room: Room) -> list[int]:
    frames = [event.frame for event in events_after(room.pk, 0) if event.type == "run.queued"]
    return [int(frame.split(b'"position":')[1].split(b",")[0]) for frame in frames]


def test_a_place_in_line_is_that_in_the_teams_line(noisy: Team, quiet: Team) -> None:
    quiet.ask(5)
    first = noisy.ask(2)
    (third,) = noisy.ask(room=1)

    assert positions_told(noisy.rooms[0]) == [1]
    assert positions_told(noisy.rooms[1]) == [3]
    assert queue.positions(noisy.rooms[0]) == dict(zip(first, (1, 2), strict=True))
    assert queue.positions(noisy.rooms[1]) == {third: 3}
    assert place(third) == 3
    assert queue.claim("worker") is not None
    assert queue.claim("worker") == first[0]
    assert place(third) == 2
    assert place(first[0]) is None


def place(run_id: UUID) -> int | None:
    return queue.position_of(Run.objects.get(pk=run_id))


def test_handed_back_it_stands_where_it_stood(noisy: Team) -> None:
    waiting: Sequence[UUID] = noisy.ask(3)
    run_id = queue.claim("worker")
    assert run_id is not None
    lifecycle.start(run_id, "worker")

    leases.release("worker")

    assert place(run_id) == 1
    assert queue.claim("next") == run_id == waiting[0]


def test_nobody_learns_of_the_line_by_the_cast_of_another(cast: Cast, noisy: Team) -> None:
    noisy.ask(7)

    services.post_message(user=cast.member, room_id=cast.room.pk, text="hello")

    assert positions_told(cast.room) == [1]
