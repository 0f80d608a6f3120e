"""Rooms of a team that asks for two-step sign-in, for a member who has not set it up."""

import pytest

from accounts.errors import MfaRequired
from accounts.services import add_team_member, create_team, create_user, require_mfa
from rooms.models import Room
from rooms.permissions import VIEW, access_room
from rooms.services import create_room, post_message, put_member
from rooms.unread import unread
from tests.accounts.factors import give_app


@pytest.mark.django_db
def test_rooms_open_with_the_second_step_only() -> None:
    owner = create_user(name="Owner", email="owner@example.com")
    member = create_user(name="Member", email="member@example.com")
    team = create_team(user=owner, name="Team")
    add_team_member(user=owner, team_id=team.pk, person=member, role="member")
    room = create_room(user=owner, team_id=team.pk, name="room")
    put_member(user=owner, room_id=room.pk, member_id=member.pk, role="member")
    give_app(owner)

    require_mfa(user=owner, team_id=team.pk, required=True)

    with pytest.raises(MfaRequired):
        access_room(member, room.pk, VIEW)
    with pytest.raises(MfaRequired):
        post_message(user=member, room_id=room.pk, text="Hello")
    assert not Room.objects.visible_to(member).exists()
    assert unread([room.pk], [member.pk]) == []
    give_app(member)
    assert access_room(member, room.pk, VIEW) == room
    assert Room.objects.visible_to(member).get() == room
    assert len(unread([room.pk], [member.pk])) == 1
