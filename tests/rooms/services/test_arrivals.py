"""Invitations to a team that also lead into rooms."""

import pytest

from accounts.errors import Forbidden, NotFound
from accounts.services import accept_invitation
from rooms import services
from rooms.permissions import POST, VIEW, access_room
from tests.rooms.conftest import Cast

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
