"""Rooms of a team that requires MFA, for a member who has not enabled it."""

import pytest
from django.urls import reverse

from accounts.errors import MfaRequired
from accounts.models import User
from accounts.services import create_team, create_user, require_mfa
from accounts.services.teams import add_team_member
from rooms import services
from rooms.fanout.unread import count_unread
from rooms.models import Room
from rooms.permissions import VIEW, access_room
from rooms.services import create_room, post_message, update_room
from tests.accounts.login.totp import enable_totp
from tests.rooms.pages.browsing import browser, words

pytestmark = pytest.mark.django_db


@pytest.fixture
def member() -> User:
    """Return a user without MFA in a team that requires it; the team's data is named CANARY."""
    owner = create_user(name="CANARY person", email="owner@example.com")
    member = create_user(name="Member", email="member@example.com")
    team = create_team(user=owner, name="A team")
    add_team_member(team, member, "member")
    room = create_room(user=owner, team_id=team.pk, name="CANARY room")
    update_room(user=owner, room_id=room.pk, privacy="team")
    enable_totp(owner)
    require_mfa(user=owner, team_id=team.pk, required=True)
    return member


def test_home_page_redirects_to_the_mfa_settings(member: User) -> None:
    answer = browser(member).get(reverse("rooms:home"), follow=True)

    assert answer.redirect_chain == [(reverse("mfa_index"), 302)]
    assert "This team requires two-step sign-in" in words(answer.content.decode())
    assert "CANARY" not in answer.content.decode()


def test_home_page_opens_a_team_that_does_not_require_mfa(member: User) -> None:
    other = create_team(user=member, name="B team")
    client = browser(member)

    home = client.get(reverse("rooms:home"))

    assert home.status_code == 200
    assert home.context["team"] == other
    assert "CANARY" not in home.content.decode()
    assert "A team" in home.content.decode()  # listed, so that the user can switch to it
    enable_totp(member)
    assert (
        client.get(reverse("rooms:home")).context["team"] == other
    )  # the team that was opened last


def test_rooms_are_accessible_only_with_mfa() -> None:
    owner = create_user(name="Owner", email="owner@example.com")
    member = create_user(name="Member", email="member@example.com")
    team = create_team(user=owner, name="Team")
    add_team_member(team, member, "member")
    room = create_room(user=owner, team_id=team.pk, name="room")
    services.put_member(user=owner, room_id=room.pk, member_id=member.pk, role="member")
    enable_totp(owner)

    require_mfa(user=owner, team_id=team.pk, required=True)

    with pytest.raises(MfaRequired):
        access_room(member, room.pk, VIEW)
    with pytest.raises(MfaRequired):
        post_message(user=member, room_id=room.pk, text="Hello")
    assert not Room.objects.visible_to(member).exists()
    assert count_unread([room.pk], [member.pk]) == []
    enable_totp(member)
    assert access_room(member, room.pk, VIEW) == room
    assert Room.objects.visible_to(member).get() == room
    assert len(count_unread([room.pk], [member.pk])) == 1
