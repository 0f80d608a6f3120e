"""From an invitation to a room: the page that invites, and the welcome of a new member."""

import re
from uuid import uuid4

import pytest
from django.urls import reverse

from accounts.models import Invitation, TeamRole
from accounts.services import accept_invitation
from accounts.services.teams import add_team_member
from rooms import services
from rooms.models import RoomMember
from tests.rooms.conftest import Cast, make_user
from tests.rooms.pages.browsing import browser, get, page, post, send, words

pytestmark = pytest.mark.django_db


def invite(cast: Cast, **form: object) -> str:
    """Send the form of the page that invites; return the token of the link."""
    url = reverse("rooms:invite_people", args=[cast.team.pk])
    html = browser(cast.owner).post(url, {"role": "member", **form}).content.decode()
    found = re.search(r"/invitations/([\w-]{43})/", html)
    assert found, words(html)
    return found[1]


def test_invitation_names_rooms_and_leads_into_the_first(cast: Cast) -> None:
    token = invite(cast, rooms=str(cast.room.pk))
    client = browser(cast.nobody)

    client.get(f"/invitations/{token}/")
    accepted = client.post(reverse("accounts:invitation"))
    landed = client.get(accepted["Location"])

    assert landed["Location"] == reverse("rooms:room", args=[cast.room.pk])
    assert "Welcome, Nobody." in words(client.get(landed["Location"]).content.decode())


def test_page_offers_the_rooms_that_the_user_manages(cast: Cast) -> None:
    theirs = services.create_room(user=cast.member, team_id=cast.team.pk, name="not the owner's")
    url = reverse("rooms:invite_people", args=[cast.team.pk])

    html = get(cast.owner, url).content.decode()
    found = get(cast.owner, f"{reverse('rooms:find_rooms_to_name', args=[cast.team.pk])}?q=oo")

    assert str(cast.room.pk) in html
    assert str(theirs.pk) not in html
    assert found.json()["items"] == [
        {"id": str(cast.room.pk), "name": "room", "note": "", "icon": "lock"}
    ]


def test_room_of_another_user_is_not_found(cast: Cast) -> None:
    theirs = services.create_room(user=cast.member, team_id=cast.team.pk, name="theirs")
    url = reverse("rooms:invite_people", args=[cast.team.pk])

    for room_id in (theirs.pk, uuid4()):
        answer = browser(cast.owner).post(url, {"role": "member", "rooms": str(room_id)})
        assert answer.status_code == 404
    assert not Invitation.objects.exists()


def test_member_of_the_team_already_comes_to_a_room(cast: Cast) -> None:
    client = browser(cast.member)
    client.get(f"/invitations/{invite(cast)}/")

    accepted = client.post(reverse("accounts:invitation"), follow=True)

    assert accepted.redirect_chain[-1][0] == reverse("rooms:room", args=[cast.room.pk])
    assert "You are already in this team." in accepted.content.decode()


def test_member_without_rooms_comes_to_the_home_page(cast: Cast) -> None:
    newcomer = make_user("Newcomer")
    add_team_member(cast.team, newcomer, TeamRole.MEMBER)

    answer = get(newcomer, reverse("rooms:arrive", args=[cast.team.pk]))

    assert answer["Location"] == f"{reverse('rooms:home')}?team={cast.team.pk}"


def arrived(cast: Cast) -> None:
    """Let the user `nobody` accept an invitation into the room."""
    _invitation, token = services.invite_into_rooms(
        user=cast.owner, team_id=cast.team.pk, room_ids=[cast.room.pk]
    )
    accept_invitation(user=cast.nobody, token=token)


def test_only_the_new_member_sees_the_welcome_until_the_first_message(cast: Cast) -> None:
    arrived(cast)
    assert "data-welcome" not in page(cast.member, cast.room)
    html = page(cast.nobody, cast.room)
    assert "Garam answers what you ask here" in words(html)
    assert html.count("data-starter") == 3

    send(cast.nobody, cast.room, "hello")

    assert "data-welcome" not in page(cast.nobody, cast.room)


def test_starter_is_written_into_the_composer_and_nothing_is_sent(cast: Cast) -> None:
    arrived(cast)

    html = page(cast.nobody, cast.room, "?starter=1")

    assert ">What happened here this week?</textarea>" in html
    assert not cast.room.messages.exists()
    assert "</textarea>" in page(cast.nobody, cast.room, "?starter=9")


def test_dismissed_welcome_does_not_return(cast: Cast) -> None:
    arrived(cast)

    answer = post(cast.nobody, "dismiss_welcome", cast.room.pk)

    assert answer["Location"] == reverse("rooms:room", args=[cast.room.pk])
    assert not RoomMember.objects.filter(welcome=True).exists()
    assert "data-welcome" not in page(cast.nobody, cast.room)


def test_settings_change_whether_everyone_is_added(cast: Cast) -> None:
    form = {"name": "room", "privacy": "team", "answer_policy": "default"}

    post(cast.owner, "settings", cast.room.pk, **form, for_everyone="on")
    cast.room.refresh_from_db()
    assert cast.room.for_everyone
    # A room owner who may not invite people sees the switch and cannot move it.
    services.put_member(
        user=cast.owner, room_id=cast.room.pk, member_id=cast.member.pk, role="owner"
    )
    address = reverse("rooms:settings", args=[cast.room.pk])
    assert re.search(
        r'name="for_everyone"[^>]*disabled', get(cast.member, address).content.decode()
    )
    post(cast.member, "settings", cast.room.pk, **form | {"name": "renamed"})

    cast.room.refresh_from_db()
    assert (cast.room.name, cast.room.for_everyone) == ("renamed", True)
