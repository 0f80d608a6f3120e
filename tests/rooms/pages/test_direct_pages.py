"""Direct rooms, profile cards and the sections of the sidebar, as pages without scripts."""

import re
from uuid import uuid4

import pytest
from django.urls import reverse

from accounts.models import TeamRole
from accounts.services.teams import add_team_member
from rooms import services
from rooms.models import Room, RoomMember
from rooms.pages.sidebar import SIDEBAR_ITEMS
from tests.rooms.conftest import Cast, make_user
from tests.rooms.pages.browsing import (
    answer,
    browser,
    data_of,
    get,
    messages_on,
    page,
    post,
    say,
    words,
)

pytestmark = pytest.mark.django_db


def direct(cast: Cast) -> Room:
    return services.open_direct_room(
        user=cast.owner, team_id=cast.team.pk, users=[cast.member.pk], personas=[]
    )


def section(html: str, key: str) -> str:
    """Return the section of the sidebar; empty if it is absent."""
    found = re.search(rf'<details class="fold" data-section="{key}".*?</details>', html, re.DOTALL)
    return found[0] if found else ""


def card(kind: str, cast: Cast, thing: object) -> str:
    return reverse(f"rooms:{kind}", args=[cast.team.pk, thing])


def test_card_of_a_person_opens_the_direct_room(cast: Cast) -> None:
    html = get(cast.owner, card("person", cast, cast.member.pk)).content.decode()
    for expected in ("Member", "@member", "Message"):
        assert expected in words(html)

    opened = post(cast.owner, "direct", cast.team.pk, users=cast.member.pk)

    room = Room.objects.get(direct=True)
    assert opened["Location"] == reverse("rooms:room", args=[room.pk])
    assert room == direct(cast)


def test_card_of_a_persona_opens_the_direct_room(cast: Cast) -> None:
    html = get(cast.member, card("persona_card", cast, cast.persona.pk)).content.decode()
    assert cast.persona.role in html
    assert "Edit the persona" not in html

    post(cast.member, "direct", cast.team.pk, personas=cast.persona.pk)

    assert Room.objects.get(direct=True).personas.get() == cast.persona


def test_own_card_and_that_of_a_guest_start_nothing(cast: Cast) -> None:
    guest = make_user("Guest")
    add_team_member(cast.team, guest, TeamRole.GUEST)
    services.put_member(user=cast.owner, room_id=cast.room.pk, member_id=guest.pk, role="member")
    button = 'name="users"'

    assert button in get(cast.owner, card("person", cast, guest.pk)).content.decode()
    assert button not in get(cast.owner, card("person", cast, cast.owner.pk)).content.decode()
    assert button not in get(guest, card("person", cast, cast.owner.pk)).content.decode()
    assert post(guest, "direct", cast.team.pk, users=cast.owner.pk).status_code == 403


def test_guest_sees_only_cards_of_shared_rooms(cast: Cast) -> None:
    guest = make_user("Guest")
    add_team_member(cast.team, guest, TeamRole.GUEST)

    for address in (
        card("person", cast, cast.owner.pk),
        card("person", cast, uuid4()),
        card("persona_card", cast, cast.persona.pk),
    ):
        assert get(guest, address).status_code == 404


def test_direct_room_is_named_by_the_others_everywhere_on_its_page(cast: Cast) -> None:
    room = direct(cast)

    for user, name in ((cast.owner, "Member"), (cast.member, "Owner")):
        html = page(user, room)
        assert f"<title>{name} · Maru</title>" in html
        assert f"<bdi data-room-name>{name}</bdi>" in html
        assert f"Message {name}" in html
        assert name in section(html, "direct")
        assert data_of(html)["state"]["room"]["name"] == name
        assert "Leave the room" not in html
    room.refresh_from_db()
    assert room.name == ""


def test_form_keeps_the_people_of_a_room_to_which_others_are_added(cast: Cast) -> None:
    room = direct(cast)
    url = reverse("rooms:direct", args=[cast.team.pk])

    def ticked(user: object, room_id: object) -> list[str]:
        html = get(user, f"{url}?room={room_id}").content.decode()  # type: ignore[arg-type]
        return re.findall(r'name="users" value="([^"]+)" checked', html)

    assert ticked(cast.owner, room.pk) == [str(cast.member.pk)]
    for other in (cast.room.pk, uuid4(), "x"):
        assert ticked(cast.owner, other) == []
    assert ticked(cast.reader, room.pk) == []


def test_empty_choice_is_refused_with_a_sentence(cast: Cast) -> None:
    answer = post(cast.owner, "direct", cast.team.pk)

    assert "Choose a person or a persona." in answer.content.decode()
    assert not Room.objects.filter(direct=True).exists()


def test_muted_and_favourite_rooms_have_their_places(cast: Cast) -> None:
    services.post_message(user=cast.owner, room_id=cast.room.pk, text="@member", personas=[])
    assert 'data-state="mentioned"' in section(get(cast.member, "/").content.decode(), "rooms")

    post(cast.member, "place", cast.room.pk, muted="yes")
    post(cast.member, "place", cast.room.pk, favourite="yes")

    html = get(cast.member, "/").content.decode()
    assert 'data-state="muted"' in section(html, "favourites")
    assert "#bell-off" in section(html, "favourites")
    assert re.search(r"data-section-count hidden", section(html, "favourites"))
    assert str(cast.room.pk) not in section(html, "rooms")
    assert section(get(cast.moderator, "/").content.decode(), "favourites") == ""
    post(cast.member, "place", cast.room.pk, muted="no", favourite="no")
    assert not RoomMember.objects.filter(muted=True).exists()
    assert post(cast.member, "place", cast.room.pk, muted="perhaps").status_code == 400
    assert post(cast.member, "place", cast.room.pk).status_code == 400


def test_folded_section_shows_its_sum_and_opens_for_the_room_of_the_page(cast: Cast) -> None:
    services.post_message(user=cast.owner, room_id=cast.room.pk, text="one", personas=[])
    services.post_message(user=cast.owner, room_id=cast.room.pk, text="two", personas=[])
    folded = {"maru_sections": "rooms.people"}

    home = section(get(cast.member, "/", **folded).content.decode(), "rooms")
    room = section(page(cast.member, cast.room, **folded), "rooms")

    assert 'data-section="rooms">' in home
    assert re.search(r"data-section-count>.*data-sum-figure>2<.*>2 unread<", home)
    assert 'data-section="rooms" open>' in room
    assert 'data-section="people" data-people' in get(cast.member, "/").content.decode()


def test_only_the_first_rows_of_each_section_are_rendered(cast: Cast) -> None:
    for number in range(SIDEBAR_ITEMS + 2):
        other = make_user(f"Other{number}")
        add_team_member(cast.team, other, TeamRole.MEMBER)
        services.open_direct_room(
            user=cast.member, team_id=cast.team.pk, users=[other.pk], personas=[]
        )

    html = get(cast.member, "/").content.decode()

    rows = re.sub(r"<template.*?</template>", "", section(html, "direct"), flags=re.DOTALL)
    assert rows.count('class="row"') == SIDEBAR_ITEMS
    assert '"icons":"33"' in html  # two with another person
    assert str(cast.room.pk) in section(html, "rooms")


def test_row_of_a_new_room_is_a_page_of_its_own(cast: Cast) -> None:
    room = direct(cast)
    services.post_message(user=cast.owner, room_id=room.pk, text="hello", personas=[])
    address = reverse("rooms:row", args=[room.pk])

    html = get(cast.member, address).content.decode()

    assert "Owner" in words(html)
    assert 'data-state="unread"' in html
    assert browser(cast.reader).get(address).status_code == 404


def test_names_of_authors_in_the_room_lead_to_their_profile_cards(cast: Cast) -> None:
    say(cast, cast.owner, "one")
    say(cast, cast.moderator, "two")
    answer(cast)
    services.remove_member(user=cast.owner, room_id=cast.room.pk, member_id=cast.moderator.pk)

    shown = messages_on(page(cast.member, cast.room))

    links = [re.search(r'data-card-link(?: href="([^"]+)")?', message) for message in shown]
    owner, member = (
        reverse("rooms:person", args=[cast.team.pk, user.pk]) for user in (cast.owner, cast.member)
    )
    persona = reverse("rooms:persona_card", args=[cast.team.pk, cast.persona.pk])
    assert [link and link[1] for link in links] == [owner, None, member, persona]
    assert get(cast.member, persona).status_code == 200
