"""The fair scheduling of runs, the limits of running and queued runs, and their positions."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import sleep
from uuid import UUID

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from accounts.errors import RateLimited
from accounts.models import TeamRole, User
from accounts.services import create_team
from accounts.services.teams import add_team_member
from agents.services import create_demo_persona
from rooms import services
from rooms.event_log import events_after
from rooms.models import Message, Room, Run, RunState, TeamQuota
from rooms.queries import room_state
from rooms.runs import leases, queue
from tests.rooms.claiming import claim_run, start_run
from tests.rooms.conftest import Cast, make_user

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Team:
    """A team with two members, who may both post in its two rooms."""

    users: tuple[User, User]
    rooms: tuple[Room, Room]

    def ask(self, times: int = 1, *, room: int = 0, user: int = 0) -> list[UUID]:
        """Queue runs: the first by a post, the others by one bulk_create, which is faster."""
        asker, target = self.users[user], self.rooms[room]
        posted = services.post_message(user=asker, room_id=target.pk, text="hello")
        first = Run.objects.get(pk=posted.runs[0])
        more = [
            Run(
                room=target,
                team_id=target.team_id,
                message=posted.message,
                persona_id=first.persona_id,
                requested_by=asker,
            )
            for _ in range(times - 1)
        ]
        return [first.pk, *(run.pk for run in Run.objects.bulk_create(more))]

    def set_limits(self, **limits: int) -> None:
        TeamQuota.objects.update_or_create(team_id=self.rooms[0].team_id, defaults=limits)


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
def limited(settings: Settings) -> None:
    """Enable the limits, which the settings of the tests disable."""
    settings.RATE_LIMITS = True


def claim_times(times: int) -> list[UUID | None]:
    return [claim_run("worker") for _ in range(times)]


def complete(*run_ids: UUID | None) -> None:
    Run.objects.filter(pk__in=[run_id for run_id in run_ids if run_id]).update(
        state=RunState.COMPLETED
    )


def test_runs_of_processes_with_different_clocks_are_claimed_in_the_order_of_their_posts(
    quiet: Team, limited: None
) -> None:
    asked = []
    for hours in (2, 0, -2, 1):
        with time_machine.travel(timezone.now() + timedelta(hours=hours)):
            asked += quiet.ask(user=abs(hours) % 2)
    quiet.set_limits(runs_per_team=4, runs_per_room=4, runs_per_user=4)

    assert [claim_run("worker") for _ in asked] == asked


def test_thousand_queued_runs_do_not_delay_another_team(noisy: Team, quiet: Team) -> None:
    many = noisy.ask(1_000)
    busy = claim_times(20)
    (one,) = quiet.ask()

    assert busy == many[:20]
    assert claim_run("worker") == one
    assert claim_run("worker") == many[20]


def test_teams_with_equally_many_running_runs_take_turns(noisy: Team, quiet: Team) -> None:
    first, second = noisy.ask(4), quiet.ask(2)

    order = []
    for _ in range(6):
        run_id = claim_run("worker")
        order.append(run_id)
        complete(run_id)
        sleep(0.002)  # SQLite's clock has milliseconds: two claims at one time have no order

    assert order == [first[0], second[0], first[1], second[1], first[2], first[3]]


def test_claim_uses_the_index(noisy: Team, quiet: Team) -> None:
    """No query of a claim scans the runs, so its cost does not grow with their number."""
    noisy.ask(50)
    quiet.ask()

    with CaptureQueriesContext(connection) as captured:
        assert claim_run("worker") is not None

    reads = [query["sql"] for query in captured if query["sql"].startswith("SELECT")]
    with connection.cursor() as cursor:
        plans = [
            [str(row[3]) for row in cursor.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()]
            for sql in reads
        ]
    assert len(reads) <= 6
    steps = [step for plan in plans for step in plan]
    assert any("run_waiting" in step for step in steps)
    assert not [step for step in steps if step.startswith("SCAN") and "rooms_run" in step]


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize(
    ("limit", "others"),
    [
        ("runs_per_user", {"user": 1}),
        ("runs_per_room", {"user": 1, "room": 1}),
        ("runs_per_team", None),
    ],
)
def test_claim_skips_runs_that_have_reached_a_limit(
    noisy: Team, quiet: Team, limit: str, others: dict[str, int] | None
) -> None:
    noisy.set_limits(**{limit: 2})
    many = noisy.ask(5)
    expected = many[:2] + (noisy.ask(**others) if others else []) + quiet.ask()

    got = claim_times(6)

    assert [run for run in got if run] != []
    assert {run for run in got if run} == set(expected)
    complete(many[0])
    assert claim_run("worker") == many[2]


@pytest.mark.usefixtures("limited")
def test_limits_of_the_server_apply_to_teams_without_their_own(
    noisy: Team, quiet: Team, settings: Settings
) -> None:
    settings.RUN_BOUNDS = {**settings.RUN_BOUNDS, "runs_per_team": 1}
    quiet.set_limits(runs_per_team=2)
    noisy.ask(3)
    quiet.ask(3)

    got = [run for run in claim_times(6) if run]

    teams = [Run.objects.get(pk=run).team_id for run in got]
    assert sorted(map(teams.count, set(teams))) == [1, 2]


def test_disabled_limits_do_not_apply(noisy: Team) -> None:
    noisy.set_limits(runs_per_user=1, queued_per_user=1)

    many = noisy.ask(3)

    assert claim_times(3) == many


def test_idle_teams_only_skips_teams_with_a_running_run(noisy: Team, quiet: Team) -> None:
    noisy.ask(2)
    claim_run("worker")

    assert claim_run("worker", idle_teams_only=True) is None
    (one,) = quiet.ask()
    assert claim_run("worker", idle_teams_only=True) == one
    assert claim_run("worker", idle_teams_only=True) is None


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize(
    ("limit", "elsewhere"),
    [
        ("queued_per_user", {"user": 1}),
        ("queued_per_room", {"room": 1}),
        ("queued_per_team", None),
    ],
)
def test_post_beyond_a_queue_limit_is_refused(
    noisy: Team, quiet: Team, limit: str, elsewhere: dict[str, int] | None
) -> None:
    noisy.set_limits(**{limit: 2})
    noisy.ask(2)
    messages = Message.objects.count()

    with pytest.raises(RateLimited) as refused:
        noisy.ask()

    assert refused.value.retry_after == queue.RETRY_SECONDS
    assert Message.objects.count() == messages
    quiet.ask()
    if elsewhere is not None:
        noisy.ask(**elsewhere)


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("limit", ["queued_per_user", "queued_per_room", "queued_per_team"])
def test_waiting_runs_count_with_the_queued_ones_but_have_no_position(
    noisy: Team, limit: str
) -> None:
    noisy.set_limits(**{limit: 3})
    waiting = noisy.ask(2)
    Run.objects.filter(pk__in=waiting).update(state=RunState.WAITING)

    noisy.ask()

    assert recorded_positions(noisy.rooms[0])[-1] == 1
    with pytest.raises(RateLimited):
        noisy.ask()


@pytest.mark.usefixtures("limited")
def test_message_without_runs_is_posted_when_the_queue_is_full(noisy: Team) -> None:
    noisy.set_limits(queued_per_team=1)
    noisy.ask()

    posted = services.post_message(
        user=noisy.users[0], room_id=noisy.rooms[0].pk, text="by the way", personas=[]
    )

    assert posted.runs == []


@pytest.mark.usefixtures("limited")
def test_retry_is_subject_to_the_queue_limits(noisy: Team) -> None:
    noisy.set_limits(queued_per_user=1)
    (stopped,) = noisy.ask()
    services.cancel_run(user=noisy.users[0], run_id=stopped)
    noisy.ask()

    with pytest.raises(RateLimited):
        services.retry_run(user=noisy.users[0], run_id=stopped)


def recorded_positions(room: Room) -> list[int | None]:
    frames = [event.frame for event in events_after(room.pk, 0) if event.type == "run.queued"]
    return [json.loads(frame)["run"]["position"] for frame in frames]


def test_position_counts_the_queue_of_the_whole_team(noisy: Team, quiet: Team) -> None:
    quiet.ask(5)
    first = noisy.ask(2)
    (third,) = noisy.ask(room=1)

    assert recorded_positions(noisy.rooms[0]) == [1]
    assert recorded_positions(noisy.rooms[1]) == [3]
    assert queue.positions(noisy.rooms[0]) == dict(zip(first, (1, 2), strict=True))
    assert queue.positions(noisy.rooms[1]) == {third: 3}
    assert position(third) == 3
    assert claim_run("worker") is not None
    assert claim_run("worker") == first[0]
    assert position(third) == 2
    assert position(first[0]) is None


def position(run_id: UUID) -> int | None:
    return queue.position_of(Run.objects.get(pk=run_id))


@pytest.mark.parametrize("is_limited", [False, True])
def test_runs_far_back_have_no_position(
    noisy: Team, settings: Settings, *, is_limited: bool
) -> None:
    settings.RATE_LIMITS = is_limited
    noisy.set_limits(
        **dict.fromkeys(("queued_per_user", "queued_per_room", "queued_per_team"), 9_999)
    )
    noisy.ask(queue.MAX_POSITION - 1)
    (last,) = noisy.ask(room=1)
    (far_back,) = noisy.ask(room=1)

    assert recorded_positions(noisy.rooms[1]) == [queue.MAX_POSITION, None]
    assert queue.positions(noisy.rooms[1]) == {last: queue.MAX_POSITION}
    assert position(last) == queue.MAX_POSITION
    assert position(far_back) is None


def test_released_run_gets_its_old_position_back(noisy: Team) -> None:
    queued: Sequence[UUID] = noisy.ask(3)
    run_id = claim_run("worker")
    assert run_id is not None
    start_run(run_id, "worker")

    leases.release("worker")

    assert position(run_id) == 1
    assert claim_run("next") == run_id == queued[0]


def test_position_does_not_count_the_runs_of_another_team(cast: Cast, noisy: Team) -> None:
    noisy.ask(7)

    services.post_message(user=cast.member, room_id=cast.room.pk, text="hello")

    assert recorded_positions(cast.room) == [1]


def test_state_of_a_room_with_a_long_queue_has_the_running_runs_and_the_first_queued(
    noisy: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "MAX_ACTIVE", 3)
    room = noisy.rooms[0]
    first, second, third, fourth, last = noisy.ask(5)
    Run.objects.filter(pk=last).update(state=RunState.RUNNING)

    state = room_state(room, [])

    assert [run.id for run in state.runs] == [last, first, second]
    assert state.runs_complete is False
    Run.objects.filter(pk__in=[third, fourth]).update(state=RunState.COMPLETED)
    assert [run.id for run in room_state(room, []).runs] == [first, second, last]
    assert room_state(room, []).runs_complete is True
    Run.objects.filter(pk__in=[first, second]).update(state=RunState.WAITING)
    monkeypatch.setattr(queue, "MAX_ACTIVE", 2)
    assert [run.id for run in room_state(room, []).runs] == [last, first]
