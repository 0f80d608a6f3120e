"""New members of a team: the rooms of their invitation, and the rooms for everyone."""

from collections.abc import Sequence

import pytest

from accounts.errors import Conflict, Forbidden, NotFound
from accounts.models import TeamRole, User
from accounts.services import accept_invitation, create_team
from accounts.services.teams import add_team_member
from rooms import services
from rooms.models import Room, RoomMember
from rooms.permissions import POST, VIEW, access_room
from rooms.services import rooms as room_services
from tests.rooms.conftest import Cast, make_user

pytestmark = pytest.mark.django_db


def test_accepted_invitation_adds_the_user_to_its_rooms(cast: Cast) -> None:
    _invitation, token = services.invite_into_rooms(
        user=cast.owner, team_id=cast.team.pk, room_ids=[cast.room.pk], role="guest"
    )

    accept_invitation(user=cast.nobody, token=token)

    assert access_room(cast.nobody, cast.room.pk, POST)


def test_invitation_needs_the_right_to_manage_its_rooms(cast: Cast) -> None:
    private = services.create_room(user=cast.member, team_id=cast.team.pk, name="theirs")
    foreign = services.create_room(
        user=cast.stranger, team_id=cast.stranger.memberships.get().team_id, name="foreign"
    )
    for room in (private, foreign):
        with pytest.raises(NotFound):
            services.invite_into_rooms(user=cast.owner, team_id=cast.team.pk, room_ids=[room.pk])
    with pytest.raises(Forbidden):
        services.invite_into_rooms(user=cast.member, team_id=cast.team.pk, room_ids=[private.pk])


def test_room_that_the_author_no_longer_manages_is_left_out(cast: Cast) -> None:
    other = services.create_room(user=cast.owner, team_id=cast.team.pk, name="other")
    _invitation, token = services.invite_into_rooms(
        user=cast.owner, team_id=cast.team.pk, room_ids=[cast.room.pk, other.pk]
    )
    services.hand_over_room(user=cast.owner, room_id=cast.room.pk, member_id=cast.member.pk)

    accept_invitation(user=cast.nobody, token=token)

    assert access_room(cast.nobody, other.pk, POST)
    with pytest.raises(NotFound):
        access_room(cast.nobody, cast.room.pk, VIEW)


def general_room(cast: Cast, name: str = "lobby") -> Room:
    """Create an open room for everyone who joins the team."""
    room = services.create_room(user=cast.owner, team_id=cast.team.pk, name=name, privacy="team")
    return services.update_room(user=cast.owner, room_id=room.pk, for_everyone=True)


def accept(cast: Cast, role: str, rooms: Sequence[Room] = ()) -> User:
    """Invite a new user into these rooms, and accept as this user."""
    _invitation, token = services.invite_into_rooms(
        user=cast.owner, team_id=cast.team.pk, room_ids=[room.pk for room in rooms], role=role
    )
    accept_invitation(user=cast.nobody, token=token)
    return cast.nobody


def rooms_of(user: User) -> set[Room]:
    return {membership.room for membership in RoomMember.objects.filter(user=user)}


def test_new_member_joins_the_room_for_everyone_and_the_named_rooms(cast: Cast) -> None:
    general = general_room(cast)

    newcomer = accept(cast, "member", [cast.room])

    assert rooms_of(newcomer) == {general, cast.room}
    assert RoomMember.objects.get(user=newcomer, welcome=True).room == general
    assert services.landing_room(newcomer, cast.team.pk) == general.pk


def test_guest_joins_only_the_named_rooms_and_comes_to_the_first(cast: Cast) -> None:
    general_room(cast)
    first, second = (
        services.create_room(user=cast.owner, team_id=cast.team.pk, name=name) for name in "ba"
    )

    guest = accept(cast, "guest", [second, first])

    assert rooms_of(guest) == {first, second}
    assert services.landing_room(guest, cast.team.pk) == second.pk


def test_named_room_for_everyone_is_joined_once(cast: Cast) -> None:
    general = general_room(cast)

    newcomer = accept(cast, "member", [general])

    assert RoomMember.objects.filter(user=newcomer).count() == 1


def test_rooms_that_are_archived_or_deleted_are_not_joined(cast: Cast) -> None:
    services.archive_room(user=cast.owner, room_id=general_room(cast, "old").pk)
    services.delete_room(user=cast.owner, room_id=general_room(cast, "gone").pk)

    newcomer = accept(cast, "member")

    assert rooms_of(newcomer) == set()
    assert services.landing_room(newcomer, cast.team.pk) is None


def test_first_open_room_of_a_team_is_for_everyone(cast: Cast) -> None:
    team = create_team(user=cast.owner, name="New")
    first, second = (
        services.create_room(user=cast.owner, team_id=team.pk, name=name, privacy="team")
        for name in ("first", "second")
    )
    other = create_team(user=cast.owner, name="Private")
    private = services.create_room(user=cast.owner, team_id=other.pk, name="private")
    after = services.create_room(user=cast.owner, team_id=other.pk, name="after", privacy="team")

    flags = [room.for_everyone for room in (first, second, private, after)]
    assert flags == [True, False, False, True]


def test_first_room_of_an_installation_is_open_and_welcomes_its_owner(cast: Cast) -> None:
    team = create_team(user=cast.owner, name="New")

    room = services.create_first_room(user=cast.owner, team_id=team.pk)

    assert (room.privacy, room.for_everyone) == ("team", True)
    assert room.members.get(user=cast.owner).welcome


def test_private_room_is_not_for_everyone(cast: Cast) -> None:
    with pytest.raises(Conflict):
        services.update_room(user=cast.owner, room_id=cast.room.pk, for_everyone=True)
    general = general_room(cast)
    with pytest.raises(Conflict):
        services.update_room(
            user=cast.owner, room_id=general.pk, privacy="private", for_everyone=True
        )

    changed = services.update_room(user=cast.owner, room_id=general.pk, privacy="private")

    assert not changed.for_everyone


def test_room_for_everyone_needs_the_right_to_invite(cast: Cast) -> None:
    room = services.create_room(
        user=cast.member, team_id=cast.team.pk, name="theirs", privacy="team"
    )
    with pytest.raises(Forbidden):
        services.update_room(user=cast.member, room_id=room.pk, for_everyone=True)
    general = general_room(cast)
    services.put_member(user=cast.owner, room_id=general.pk, member_id=cast.member.pk, role="owner")

    # Without the right, the owner of the room changes the rest of it, and may end the flag.
    services.update_room(user=cast.member, room_id=general.pk, topic="all", for_everyone=True)
    changed = services.update_room(user=cast.member, room_id=general.pk, for_everyone=False)

    assert (changed.topic, changed.for_everyone) == ("all", False)


def test_number_of_rooms_for_everyone_is_limited(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_services, "MAX_ROOMS_FOR_EVERYONE", 1)
    archived = services.archive_room(user=cast.owner, room_id=general_room(cast).pk)
    general_room(cast, "second")

    with pytest.raises(Conflict):
        general_room(cast, "third")
    with pytest.raises(Conflict):
        services.restore_room(user=cast.owner, room_id=archived.pk)


def test_landing_room_is_a_room_of_the_team(cast: Cast) -> None:
    newcomer = make_user("Newcomer")
    add_team_member(cast.team, newcomer, TeamRole.MEMBER)
    theirs = cast.stranger.memberships.get().team

    assert services.landing_room(newcomer, cast.team.pk) is None
    assert services.landing_room(cast.member, cast.team.pk) == cast.room.pk
    assert services.landing_room(cast.member, theirs.pk) is None
