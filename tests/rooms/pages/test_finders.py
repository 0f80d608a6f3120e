"""Finders in the forms of rooms: what they offer, with and without scripts, and to whom."""

import re
from uuid import uuid4

import pytest
from django.urls import reverse

from accounts.models import TeamRole
from accounts.services import suspend_user
from accounts.services.teams import add_team_member
from agents.services import create_demo_persona
from rooms import services
from rooms.models import Room, RoomRole
from tests.rooms.conftest import Cast, make_user
from tests.rooms.pages.browsing import get, post

pytestmark = pytest.mark.django_db


@pytest.fixture
def crowd(cast: Cast) -> Cast:
    """Add ten people to the team: more than a page offers before a search."""
    for number in range(10):
        add_team_member(cast.team, make_user(f"Crowd{number}"), TeamRole.MEMBER)
    return cast


def boxes(html: str, name: str) -> dict[str, bool]:
    """Return the values of the boxes with this name, and which are ticked."""
    found = re.findall(rf'<input[^>]* name="{name}" value="([^"]+)"( checked)?>', html)
    return {value: bool(checked) for value, checked in found}


def names(answer: object) -> list[str]:
    return [item["name"] for item in answer.json()["items"]]  # type: ignore[attr-defined]  # of a test client


def test_search_without_scripts_keeps_the_form_and_what_was_ticked(crowd: Cast) -> None:
    chosen, wanted = (make_user(name) for name in ("Chosen", "Wanted"))
    for user in (chosen, wanted):
        add_team_member(crowd.team, user, TeamRole.MEMBER)

    answer = post(
        crowd.owner,
        "create",
        crowd.team.pk,
        name="draft",
        people=[chosen.pk],
        people_q="WANT",
        find="people",
    )

    html = answer.content.decode()
    assert boxes(html, "people") == {str(chosen.pk): True, str(wanted.pk): False}
    assert 'value="draft"' in html
    assert not Room.objects.filter(name="draft").exists()


def test_new_room_offers_few_people_and_accepts_those_found(crowd: Cast) -> None:
    address = reverse("rooms:create", args=[crowd.team.pk])
    last = crowd.team.members.order_by("name_key").last()
    assert last is not None

    html = get(crowd.owner, address).content.decode()
    answer = post(crowd.owner, "create", crowd.team.pk, name="ideas", people=[last.user_id])

    assert len(boxes(html, "people")) == 8
    assert str(last.user_id) not in boxes(html, "people")
    assert answer.status_code == 302
    assert Room.objects.get(name="ideas").members.filter(user=last.user).exists()


@pytest.mark.parametrize("field", ["people", "personas"])
def test_ids_of_other_teams_are_not_shown_as_ticked(cast: Cast, field: str) -> None:
    theirs = create_demo_persona(
        user=cast.stranger, team_id=cast.stranger.memberships.get().team_id
    )
    ids = [cast.stranger.pk, theirs.pk, uuid4(), "nonsense", "\0"]

    answer = post(cast.owner, "create", cast.team.pk, name="x", find=field, **{field: ids})

    assert not any(boxes(answer.content.decode(), field).values())


def test_settings_add_several_people_at_once(crowd: Cast) -> None:
    people = list(crowd.team.members.order_by("-pk").values_list("user", flat=True)[:3])

    answer = post(crowd.owner, "add_person", crowd.room.pk, person=people, role="reader")

    assert answer.headers["Location"].endswith("/settings/#people")
    added = crowd.room.members.filter(user__in=people)
    assert {member.role for member in added} == {RoomRole.READER}
    assert added.count() == 3


def test_more_than_fifty_people_at_once_are_refused(cast: Cast) -> None:
    before = cast.refreshed().last_seq

    post(cast.owner, "add_person", cast.room.pk, person=[uuid4()] * 51, role="member")

    assert cast.refreshed().last_seq == before


def test_search_in_settings_shows_who_is_not_in_the_room(crowd: Cast) -> None:
    inside = make_user("Crowded")
    add_team_member(crowd.team, inside, TeamRole.MEMBER)
    services.put_member(user=crowd.owner, room_id=crowd.room.pk, member_id=inside.pk, role="member")

    answer = post(
        crowd.owner, "add_person", crowd.room.pk, person_q="crowd", find="person", role="member"
    )

    html = answer.content.decode()
    assert len(boxes(html, "person")) == 8
    assert str(inside.pk) not in boxes(html, "person")
    assert boxes(html, "successor") == {}


def test_finders_return_candidates_of_the_room_only(crowd: Cast) -> None:
    def found(of: str, words: str) -> list[str]:
        return names(get(crowd.owner, reverse(f"rooms:find_{of}", args=[crowd.room.pk]) + words))

    suspend_user(person=crowd.reader)
    other = create_demo_persona(user=crowd.owner, team_id=crowd.team.pk)

    assert found("people", "?q=crowd9") == ["Crowd9"]
    assert found("people", "?q=mem") == []  # is in the room
    assert found("people", "?q=stranger") == []
    assert found("members", "?q=mem") == ["Member"]
    assert found("members", "?q=owner") == []  # the user
    assert found("members", "?q=reader") == []  # has no active account
    assert found("personas", f"?q=@{other.handle}") == [other.name]
    assert found("personas", f"?q=@{crowd.persona.handle[:2]}") == [other.name]


def test_finder_returns_at_most_twenty_and_says_that_there_are_more(crowd: Cast) -> None:
    for number in range(10, 25):
        add_team_member(crowd.team, make_user(f"Crowd{number}"), TeamRole.MEMBER)

    answer = get(crowd.owner, reverse("rooms:find_people", args=[crowd.room.pk]) + "?q=crowd")

    assert len(names(answer)) == 20
    assert answer.json()["more"] is True


@pytest.mark.parametrize("of", ["people", "members", "personas"])
def test_finders_of_a_room_are_for_those_who_manage_the_room(cast: Cast, of: str) -> None:
    address = reverse(f"rooms:find_{of}", args=[cast.room.pk])
    codes = {
        who: get(getattr(cast, who), address).status_code
        for who in ("owner", "moderator", "member", "reader", "stranger", "nobody")
    }

    assert codes == {
        "owner": 200,
        "moderator": 403,
        "member": 403,
        "reader": 403,
        "stranger": 404,
        "nobody": 404,
    }


def test_guest_finds_no_people_for_a_new_room(cast: Cast) -> None:
    guest = make_user("Guest")
    add_team_member(cast.team, guest, TeamRole.GUEST)

    for of in ("people", "personas"):
        address = reverse(f"rooms:find_{of}_of_new_room", args=[cast.team.pk])
        assert get(guest, address).status_code == 403
        assert get(cast.member, address).status_code == 200


def test_guest_who_owns_a_room_finds_only_what_the_sidebar_shows(cast: Cast) -> None:
    guest = make_user("Guest")
    add_team_member(cast.team, guest, TeamRole.GUEST)
    create_demo_persona(user=cast.owner, team_id=cast.team.pk)
    room = services.create_room(user=cast.owner, team_id=cast.team.pk, name="shared")
    services.put_member(user=cast.owner, room_id=room.pk, member_id=guest.pk, role=RoomRole.OWNER)

    for of in ("people", "personas"):
        address = reverse(f"rooms:find_{of}", args=[room.pk])
        assert names(get(cast.owner, address)) != []
        assert names(get(guest, address)) == []
