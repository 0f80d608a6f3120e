"""Invitations that lead into rooms, too."""

import pytest

from accounts.errors import Forbidden, NotFound
from accounts.services import accept_invitation
from rooms import services
from rooms.permissions import POST, VIEW, access_room
from tests.rooms.conftest import Cast

pytestmark = pytest.mark.django_db


def test_whoever_accepts_comes_into_the_rooms(cast: Cast) -> None:
    _invitation, token = services.invite_into_rooms(
        user=cast.owner, team_id=cast.team.pk, room_ids=[cast.room.pk], role="guest"
    )

    accept_invitation(user=cast.nobody, token=token)

    assert access_room(cast.nobody, cast.room.pk, POST)


def test_invitation_leads_only_into_rooms_that_its_maker_manages(cast: Cast) -> None:
    theirs = services.create_room(user=cast.member, team_id=cast.team.pk, name="theirs")
    foreign = services.create_room(
        user=cast.stranger, team_id=cast.stranger.memberships.get().team_id, name="foreign"
    )
    for room in (theirs, foreign):
        with pytest.raises(NotFound):
            services.invite_into_rooms(user=cast.owner, team_id=cast.team.pk, room_ids=[room.pk])
    with pytest.raises(Forbidden):
        services.invite_into_rooms(user=cast.member, team_id=cast.team.pk, room_ids=[theirs.pk])


def test_room_that_its_maker_has_lost_is_left_out(cast: Cast) -> None:
    other = services.create_room(user=cast.owner, team_id=cast.team.pk, name="other")
    _invitation, token = services.invite_into_rooms(
        user=cast.owner, team_id=cast.team.pk, room_ids=[cast.room.pk, other.pk]
    )
    services.hand_over_room(user=cast.owner, room_id=cast.room.pk, member_id=cast.member.pk)

    accept_invitation(user=cast.nobody, token=token)

    assert access_room(cast.nobody, other.pk, POST)
    with pytest.raises(NotFound):
        access_room(cast.nobody, cast.room.pk, VIEW)
