"""The sidebar and the home page of a reader with many rooms in a large team."""

import json
import re
from base64 import b64decode
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import TeamHandle, TeamMember, User
from accounts.names import search_key
from accounts.services.teams import create_team
from rooms.models import Mention, Message, Room, RoomMember, RoomPermission, RoomRole
from rooms.pages import sidebar
from rooms.pages.sidebar import PAGE_ITEMS, SIDEBAR_ITEMS, SIDEBAR_ROOMS
from rooms.services import mark_read, post_message
from tests.rooms.conftest import Cast
from tests.rooms.pages.browsing import browser, get

pytestmark = pytest.mark.django_db

KB = 1_024


def add_rooms(cast: Cast, count: int) -> list[Room]:
    """Add rooms that the member owns, each with a message that the member has not read."""
    rooms = Room.objects.bulk_create(
        Room(team=cast.team, name=f"room {n:03}", last_seq=1, message_count=1) for n in range(count)
    )
    Message.objects.bulk_create(
        Message(room=room, seq=1, user=cast.owner, author_name="Owner", text="hello " * 20)
        for room in rooms
    )
    RoomMember.objects.bulk_create(
        RoomMember(room=room, user=cast.member, role=RoomRole.OWNER) for room in rooms
    )
    permissions = Permission.objects.filter(
        roompermission__user=cast.owner, codename__in=["view", "manage"]
    ).distinct()
    RoomPermission.objects.bulk_create(
        RoomPermission(user=cast.member, permission=permission, content_object=room)
        for permission in permissions
        for room in rooms
    )
    return rooms


def rendered(html: str) -> list[str]:
    """Return the ids of the rooms whose rows the server has rendered in the sidebar."""
    return re.findall(
        r'class="row"[^>]*data-room-id="([^"]+)"', html.split("<template", maxsplit=1)[0]
    )


def waiting(html: str) -> list[str]:
    """Return the ids of the rooms that the page has as data."""
    found = re.search(r'id="waiting-rooms" type="application/json">(.*?)</script>', html)
    if found is None:
        return []
    data = json.loads(found[1])
    ids = b64decode(data["ids"])
    assert (
        len(ids) == 16 * len(data["names"]) == 16 * len(data["icons"]) == 16 * len(data["unread"])
    )
    return [str(UUID(bytes=ids[at : at + 16])) for at in range(0, len(ids), 16)]


def test_home_and_room_with_500_rooms_take_few_queries_and_bytes(cast: Cast) -> None:
    addresses = ["/", "/rooms/", reverse("rooms:room", args=[cast.room.pk])]
    client = browser(cast.member)

    def costs() -> list[int]:
        found = []
        for address in addresses:
            client.get(address)
            with CaptureQueriesContext(connection) as queries:
                assert client.get(address).status_code == 200
            found.append(len([q for q in queries if "SAVEPOINT" not in q["sql"]]))
        return found

    add_rooms(cast, 3)
    few = costs()
    rooms = add_rooms(cast, SIDEBAR_ROOMS - 10)

    assert costs() == few
    assert max(few) <= 15
    home = client.get("/").content.decode()
    assert len(home.encode()) <= 90 * KB
    shown = {*rendered(home), *waiting(home)}
    assert len(rendered(home)) == SIDEBAR_ITEMS
    assert {str(room.pk) for room in rooms} <= shown


def test_sidebar_lists_mentions_and_unread_rooms_first(cast: Cast) -> None:
    rooms = add_rooms(cast, 4)
    for room in rooms[:2]:
        mark_read(user=cast.member, room_id=room.pk, seq=1)
    said = Message.objects.get(room=rooms[3])
    Mention.objects.create(room=rooms[3], user=cast.member, message=said, seq=said.seq)

    order = [rooms[3], rooms[2], cast.room, rooms[0], rooms[1]]
    assert rendered(get(cast.member, "/").content.decode()) == [str(room.pk) for room in order]


def test_more_rooms_than_the_sidebar_has_are_found_by_search(cast: Cast) -> None:
    rooms = add_rooms(cast, SIDEBAR_ROOMS + 1)
    post_message(user=cast.owner, room_id=cast.room.pk, text="news", personas=[])
    address = reverse("rooms:room", args=[rooms[-1].pk])

    html = get(cast.member, address).content.decode()

    assert len(rendered(html)) + len(waiting(html)) == SIDEBAR_ROOMS
    assert {str(cast.room.pk), str(rooms[-1].pk)} <= {
        *rendered(html),
        *waiting(html),
    }
    assert str(rooms[-1].pk) in rendered(html)
    assert "data-jump-all" in html
    for query, expected in (
        ("q=ROOM 50", {f"room 50{n}" for n in range(1)}),
        ("q=room 4", {f"room 4{n:02}" for n in range(PAGE_ITEMS)}),
        ("q=room 4&page=2", {f"room 4{n:02}" for n in range(PAGE_ITEMS, 100)}),
        ("q=room 4&page=99", {f"room 4{n:02}" for n in range(PAGE_ITEMS)}),
        ("q=absent", set()),
    ):
        listed = (
            get(cast.member, f"/rooms/?{query}").content.decode().split('class="main-scroll"')[1]
        )
        assert set(re.findall(r"<bdi>(room \d+)</bdi>", listed)) == expected


def add_people(cast: Cast, count: int) -> list[UUID]:
    found = User.objects.bulk_create(
        User(name=f"Person {n:02}", email=f"p{n}@example.com", handle=f"handle-{n:02}")
        for n in range(count)
    )
    TeamMember.objects.bulk_create(
        TeamMember(team=cast.team, user=user, name_key=search_key(user.name)) for user in found
    )
    TeamHandle.objects.bulk_create(
        TeamHandle(team=cast.team, handle=user.handle, holder=user.pk) for user in found
    )
    return [user.pk for user in found]


def test_people_are_loaded_in_parts_and_not_with_the_page(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sidebar, "PEOPLE", 10)
    added = add_people(cast, 25)
    assert "Person 01" not in get(cast.member, "/").content.decode()
    address = reverse("rooms:people", args=[cast.team.pk])

    listed: list[str] = []
    query = "?q=person"
    while query:
        html = get(cast.member, address + query).content.decode()
        listed += re.findall(r'data-user-id="([^"]+)"', html)
        more = re.search(r'data-people-more="([^"]+)"', html)
        query = f"?q=person&after={more[1]}" if more else ""

    assert listed == [str(user) for user in added]
    for words in ("person 07", "handle-07"):
        html = get(cast.member, f"{address}?q={words}").content.decode()
        assert re.findall(r'data-user-id="([^"]+)"', html) == [str(added[7])]
    for wrong in ("x", str(cast.stranger.pk)):
        html = get(cast.member, f"{address}?q=person&after={wrong}").content.decode()
        assert f'data-user-id="{added[0]}"' in html
    assert "No matches." in get(cast.member, f"{address}?q=absent").content.decode()


def test_list_of_people_says_when_the_team_has_no_other_members(cast: Cast) -> None:
    team = create_team(user=cast.stranger, name="Solo")

    html = get(cast.stranger, reverse("rooms:people", args=[team.pk])).content.decode()

    assert "No other members yet." in html
    assert "No matches." not in html
