"""Joins, handovers, archived and deleted rooms, and the rooms of deleted teams."""

from collections.abc import Mapping
from datetime import timedelta
from uuid import uuid4

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import database
from accounts.errors import Conflict, Forbidden, Invalid, NotFound
from accounts.models import AuditEntry, Team, TeamRole, User
from accounts.services import (
    create_token,
    delete_team,
    purge_teams,
    remove_team_member,
    restore_team,
    restore_team_member,
    set_team_role,
    suspend_team_member,
)
from accounts.services.teams import add_team_member
from rooms import services
from rooms.fanout.unread import count_unread
from rooms.models import Room, RoomEvent, RoomMember, RoomPermission, RoomRole, Run, RunState
from rooms.permissions import MANAGE, POST, VIEW, access_room, permissions_in
from rooms.queries import room_state
from rooms.runs import ending
from rooms.services.rooms import RETENTION
from tests.rooms.conftest import Cast, make_user

pytestmark = pytest.mark.django_db


def newest_event(room: Room) -> str:
    event = RoomEvent.objects.filter(room=room).order_by("-seq").first()
    assert event is not None
    return event.type


def joiner(cast: Cast, role: str = TeamRole.MEMBER) -> User:
    """Return a new member of the team who is in no room."""
    user = make_user(f"Joiner{uuid4().hex[:6]}")
    add_team_member(cast.team, user, role)
    return user


def make_open(cast: Cast) -> None:
    services.update_room(user=cast.owner, room_id=cast.room.pk, privacy="team")


def test_member_joins_an_open_room(cast: Cast) -> None:
    make_open(cast)
    user = joiner(cast)
    assert cast.room in services.joinable_rooms(user, cast.team)

    member = services.join_room(user=user, room_id=cast.room.pk)
    again = services.join_room(user=user, room_id=cast.room.pk)

    assert (member.role, again.pk) == (RoomRole.MEMBER, member.pk)
    assert access_room(user, cast.room.pk, POST)
    assert newest_event(cast.room) == "member.added"
    assert cast.room not in services.joinable_rooms(user, cast.team)


def test_private_archived_deleted_and_foreign_rooms_cannot_be_joined(cast: Cast) -> None:
    user = joiner(cast)
    with pytest.raises(NotFound):
        services.join_room(user=user, room_id=cast.room.pk)
    make_open(cast)
    for outsider in (cast.stranger, cast.nobody, joiner(cast, TeamRole.GUEST)):
        with pytest.raises(NotFound):
            services.join_room(user=outsider, room_id=cast.room.pk)
    services.archive_room(user=cast.owner, room_id=cast.room.pk)
    with pytest.raises(NotFound):
        services.join_room(user=user, room_id=cast.room.pk)
    services.delete_room(user=cast.owner, room_id=cast.room.pk)
    with pytest.raises(NotFound):
        services.join_room(user=user, room_id=cast.room.pk)


@pytest.mark.parametrize("role", [RoomRole.OWNER, RoomRole.MODERATOR, "king"])
def test_join_refuses_higher_roles(cast: Cast, role: str) -> None:
    make_open(cast)

    with pytest.raises(Forbidden):
        services.join_room(user=joiner(cast), room_id=cast.room.pk, role=role)


def test_archived_room_is_read_only(cast: Cast) -> None:
    posted = services.post_message(user=cast.member, room_id=cast.room.pk, text="question")
    services.archive_room(user=cast.owner, room_id=cast.room.pk)
    room = cast.refreshed()

    assert room.runs.get().state == RunState.CANCELLED
    assert newest_event(room) == "room.archived"
    assert access_room(cast.reader, room.pk, VIEW)
    assert permissions_in(cast.owner, room) == ["manage", "view"]
    assert permissions_in(cast.member, room) == ["view"]
    for act in (
        lambda: services.post_message(user=cast.owner, room_id=room.pk, text="hello"),
        lambda: services.update_room(user=cast.owner, room_id=room.pk, name="other"),
        lambda: services.retry_run(user=cast.member, run_id=posted.runs[0]),
        lambda: services.put_member(
            user=cast.owner, room_id=room.pk, member_id=joiner(cast).pk, role="member"
        ),
        lambda: services.bind_persona(user=cast.owner, room_id=room.pk, persona_id=cast.persona.pk),
    ):
        with pytest.raises(Forbidden):
            act()

    services.restore_room(user=cast.owner, room_id=room.pk)
    assert services.post_message(user=cast.member, room_id=room.pk, text="hello", personas=[])


def test_members_can_be_removed_from_an_archived_room(cast: Cast) -> None:
    services.archive_room(user=cast.owner, room_id=cast.room.pk)

    services.remove_member(user=cast.owner, room_id=cast.room.pk, member_id=cast.reader.pk)
    services.remove_member(user=cast.member, room_id=cast.room.pk, member_id=cast.member.pk)

    for user in (cast.reader, cast.member):
        with pytest.raises(NotFound):
            access_room(user, cast.room.pk, VIEW)


def test_only_owners_archive_restore_hand_over_and_delete(cast: Cast) -> None:
    room_id = cast.room.pk
    for user, refusal in (
        (cast.moderator, Forbidden),
        (cast.member, Forbidden),
        (cast.reader, Forbidden),
        (cast.stranger, NotFound),
    ):
        for act in (services.archive_room, services.restore_room, services.delete_room):
            with pytest.raises(refusal):
                act(user=user, room_id=room_id)
        with pytest.raises(refusal):
            services.hand_over_room(user=user, room_id=room_id, member_id=user.pk)


def test_deleted_room_has_no_members_and_no_permissions(cast: Cast) -> None:
    services.post_message(user=cast.member, room_id=cast.room.pk, text="question")

    services.delete_room(user=cast.owner, room_id=cast.room.pk)

    assert newest_event(cast.room) == "room.deleted"
    assert cast.room.runs.get().state == RunState.CANCELLED
    assert not RoomPermission.objects.filter(content_object=cast.room).exists()
    assert not RoomMember.objects.filter(room=cast.room).exists()
    with pytest.raises(NotFound):
        access_room(cast.owner, cast.room.pk, VIEW)
    assert services.purge_rooms() == 0
    with time_machine.travel(timezone.now() + RETENTION + timedelta(seconds=5)):
        assert services.purge_rooms() == 1
    assert not Room.objects.filter(pk=cast.room.pk).exists()


@pytest.fixture
def ended(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Five queued runs, of which a batch has two; the numbers of runs that end together."""
    monkeypatch.setattr(ending, "BATCH", 2)
    for _ in range(5):
        services.post_message(user=cast.member, room_id=cast.room.pk, text="question")
    ended: list[int] = []
    end_runs = ending.end_runs

    def count(room: Room, reasons: Mapping[Run, ending.Reason]) -> None:
        ended.append(len(reasons))
        end_runs(room, reasons)

    monkeypatch.setattr(ending, "end_runs", count)
    return ended


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("of_team", [False, True], ids=["room", "team"])
def test_deletion_ends_a_long_queue_in_short_transactions(
    cast: Cast, ended: list[int], *, of_team: bool
) -> None:
    if of_team:
        delete_team(user=cast.owner, team_id=cast.team.pk, name="Team")
    else:
        services.delete_room(user=cast.owner, room_id=cast.room.pk)

    assert ended == [2, 2, 1, 0]
    assert not cast.room.runs.exclude(state=RunState.CANCELLED).exists()


def test_deletion_in_a_transaction_of_its_caller_ends_the_queue_at_once(
    cast: Cast, ended: list[int]
) -> None:
    delete_team(user=cast.owner, team_id=cast.team.pk, name="Team")

    assert ended == [5]


@pytest.mark.parametrize("name", ["Other name", None], ids=["wrong name", "no right"])
def test_refused_deletion_of_a_team_cancels_no_run(cast: Cast, name: str | None) -> None:
    services.post_message(user=cast.member, room_id=cast.room.pk, text="question")

    with pytest.raises(Invalid if name else Forbidden):
        delete_team(
            user=cast.owner if name else cast.member, team_id=cast.team.pk, name=name or "Team"
        )

    assert cast.room.runs.get().state == RunState.QUEUED


def test_refused_deletion_of_a_room_cancels_no_run(cast: Cast) -> None:
    services.post_message(user=cast.member, room_id=cast.room.pk, text="question")

    with pytest.raises(Forbidden):
        services.delete_room(user=cast.member, room_id=cast.room.pk)

    assert cast.room.runs.get().state == RunState.QUEUED


def test_room_is_handed_over(cast: Cast) -> None:
    services.hand_over_room(user=cast.owner, room_id=cast.room.pk, member_id=cast.reader.pk)

    assert access_room(cast.reader, cast.room.pk, MANAGE)
    assert access_room(cast.owner, cast.room.pk, POST)
    with pytest.raises(Forbidden):
        access_room(cast.owner, cast.room.pk, MANAGE)
    with pytest.raises(NotFound):
        services.hand_over_room(user=cast.reader, room_id=cast.room.pk, member_id=cast.nobody.pk)
    with pytest.raises(Conflict):
        services.remove_member(user=cast.reader, room_id=cast.room.pk, member_id=cast.reader.pk)


def test_suspended_member_has_no_access_until_restored(cast: Cast) -> None:
    services.post_message(user=cast.owner, room_id=cast.room.pk, text="hello", personas=[])
    suspend_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.moderator.pk)

    assert newest_event(cast.room) == "member.removed"
    with pytest.raises(NotFound):
        access_room(cast.moderator, cast.room.pk, VIEW)
    state = room_state(cast.refreshed(), [])
    assert cast.moderator.pk not in {member.user for member in state.members}
    assert count_unread([cast.room.pk], [cast.moderator.pk]) == []
    with pytest.raises(NotFound):
        services.put_member(
            user=cast.owner, room_id=cast.room.pk, member_id=cast.moderator.pk, role="owner"
        )

    restore_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.moderator.pk)

    assert newest_event(cast.room) == "member.added"
    assert permissions_in(cast.moderator, cast.room) == ["moderate", "post", "view"]


def test_room_of_a_suspended_owner_gets_another_owner(cast: Cast) -> None:
    add_team_member(cast.team, second := make_user("Second"), TeamRole.OWNER)

    suspend_team_member(user=second, team_id=cast.team.pk, member_id=cast.owner.pk)

    assert cast.room.members.active().filter(role=RoomRole.OWNER).count() == 1
    remove_team_member(user=second, team_id=cast.team.pk, member_id=cast.owner.pk)
    removals = RoomEvent.objects.filter(room=cast.room, type="member.removed")
    assert removals.count() == 1


def test_guest_stays_in_open_rooms_when_the_role_does_not_change(cast: Cast) -> None:
    guest = joiner(cast, TeamRole.GUEST)
    make_open(cast)
    services.put_member(user=cast.owner, room_id=cast.room.pk, member_id=guest.pk, role="member")

    set_team_role(user=cast.owner, team_id=cast.team.pk, member_id=guest.pk, role=TeamRole.GUEST)

    assert access_room(guest, cast.room.pk, POST)


def test_guest_inherits_a_room_only_if_all_members_are_guests(cast: Cast) -> None:
    guest, member = joiner(cast, TeamRole.GUEST), joiner(cast)
    room = services.create_room(user=cast.member, team_id=cast.team.pk, name="private")
    for user in (guest, member):
        services.put_member(user=cast.member, room_id=room.pk, member_id=user.pk, role="member")

    remove_team_member(user=cast.owner, team_id=cast.team.pk, member_id=cast.member.pk)
    assert room.members.get(role=RoomRole.OWNER).user == member
    remove_team_member(user=cast.owner, team_id=cast.team.pk, member_id=member.pk)
    assert room.members.get(role=RoomRole.OWNER).user == guest


def test_member_who_becomes_a_guest_leaves_open_rooms_only(cast: Cast) -> None:
    private = services.create_room(user=cast.owner, team_id=cast.team.pk, name="private")
    services.put_member(
        user=cast.owner, room_id=private.pk, member_id=cast.member.pk, role="member"
    )
    make_open(cast)

    set_team_role(
        user=cast.owner, team_id=cast.team.pk, member_id=cast.member.pk, role=TeamRole.GUEST
    )

    assert access_room(cast.member, private.pk, POST)
    with pytest.raises(NotFound):
        access_room(cast.member, cast.room.pk, VIEW)
    with pytest.raises(NotFound):
        services.join_room(user=cast.member, room_id=cast.room.pk)


def test_rooms_of_a_deleted_team_are_closed_until_it_is_restored(cast: Cast) -> None:
    services.post_message(user=cast.member, room_id=cast.room.pk, text="question")
    delete_team(user=cast.owner, team_id=cast.team.pk, name="Team")

    assert newest_event(cast.room) == "room.deleted"
    assert cast.room.runs.get().state == RunState.CANCELLED
    assert not Room.objects.visible_to(cast.owner).exists()
    assert count_unread([cast.room.pk], [cast.member.pk]) == []
    for user in (cast.owner, cast.member):
        with pytest.raises(NotFound):
            access_room(user, cast.room.pk, VIEW)

    restore_team(user=cast.owner, team_id=cast.team.pk)

    assert newest_event(cast.room) == "room.changed"
    assert access_room(cast.member, cast.room.pk, POST)


def test_purge_of_a_team_deletes_its_rooms(cast: Cast) -> None:
    services.post_message(user=cast.member, room_id=cast.room.pk, text="question")
    delete_team(user=cast.owner, team_id=cast.team.pk, name="Team")
    assert purge_teams() == 0

    with time_machine.travel(timezone.now() + timedelta(days=7, seconds=5)):
        with pytest.raises(NotFound):
            restore_team(user=cast.owner, team_id=cast.team.pk)
        assert purge_teams() == 1

    assert not Team.objects.filter(pk=cast.team.pk).exists()
    assert not RoomEvent.objects.filter(room=cast.room.pk).exists()
    assert User.objects.filter(pk=cast.owner.pk).exists()


@pytest.mark.parametrize("purged", ["room", "team"])
def test_purge_deletes_a_large_room_in_batches(
    purged: str, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        services.post_message(user=cast.member, room_id=cast.room.pk, text=f"question {number}")
    if purged == "room":
        services.delete_room(user=cast.owner, room_id=cast.room.pk)
    else:
        delete_team(user=cast.owner, team_id=cast.team.pk, name="Team")
    monkeypatch.setattr(database, "BATCH_ROWS", 3)

    with (
        time_machine.travel(timezone.now() + timedelta(days=7, seconds=5)),
        CaptureQueriesContext(connection) as queries,
    ):
        assert (services.purge_rooms if purged == "room" else purge_teams)() == 1

    assert not Room.objects.filter(pk=cast.room.pk).exists()
    for table in ("rooms_message", "rooms_run", "rooms_roomevent"):
        deletions = [q["sql"] for q in queries if q["sql"].startswith(f'DELETE FROM "{table}"')]
        rows = [sql.count(",") + 1 for sql in deletions]
        assert max(rows) <= 3, deletions
        assert sum(rows) >= 7


def test_repeated_join_by_rest_returns_the_same_response(cast: Cast) -> None:
    make_open(cast)
    user = joiner(cast)
    _token, secret = create_token(user=user, name="script")
    client = Client(headers={"authorization": f"Bearer {secret}"})
    path = f"/api/v1/rooms/{cast.room.pk}/members/{user.pk}"

    first, again = (client.put(path, {}, "application/json") for _ in range(2))
    higher = client.put(path, {"role": "owner"}, "application/json")

    assert first.status_code == again.status_code == 200
    assert first.content == again.content
    assert higher.status_code == 403
    assert AuditEntry.objects.filter(refused=True).count() == 1
    assert RoomMember.objects.get(room=cast.room, user=user).role == RoomRole.MEMBER


def test_deleted_room_is_not_among_the_allowed_rooms(cast: Cast) -> None:
    other = services.create_room(user=cast.owner, team_id=cast.team.pk, name="other")
    _token, secret = create_token(user=cast.owner, name="script", scopes=["admin"])
    client = Client(headers={"authorization": f"Bearer {secret}"})
    path = f"/api/v1/personas/{cast.persona.pk}/rooms"
    kept = [cast.room.pk, other.pk]
    services.confine_persona(user=cast.owner, persona_id=cast.persona.pk, room_ids=kept)
    services.delete_room(user=cast.owner, room_id=other.pk)

    allowed = client.get(path).json()

    assert allowed == {"rooms": [str(cast.room.pk)]}
    assert client.put(path, allowed, "application/json").status_code == 200
