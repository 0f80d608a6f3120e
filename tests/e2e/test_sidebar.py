"""The sidebar of a reader with many rooms: rows on demand, search, and the list of people."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from rooms.pages.sidebar import SIDEBAR_ITEMS
from tests.e2e.conftest import Open
from tests.e2e.room_page import RoomPage
from tests.e2e.server import Server
from tests.live import Person, PopulatedRoom

MORE = 5
LAST = f"room {SIDEBAR_ITEMS + MORE - 1:02}"


@pytest.fixture(scope="module")
def room(server: Server) -> PopulatedRoom:
    """The room of the page; its first member owns SIDEBAR_ITEMS + MORE others."""
    (room,) = server.populate(1, 3)
    for number in range(SIDEBAR_ITEMS + MORE):
        body = {"name": f"room {number:02}", "privacy": "team" if number % 2 else "private"}
        ask(server, room.members[0], "POST", f"/teams/{room.team}/rooms", body)
    return room


def ask(server: Server, person: Person, method: str, path: str, body: Any) -> None:
    status, _answer = server.installation.request(method, path, person.token, body)
    assert status in (200, 201), path


@pytest.fixture
def page(server: Server, sign_in: Open, room: PopulatedRoom) -> Page:
    page = sign_in(room.members[0])
    page.goto(server.address(room))
    return page


def test_rows_are_made_at_the_end_of_the_list_and_show_new_messages(
    server: Server, room: PopulatedRoom, page: Page
) -> None:
    rows = page.locator(".sidebar a.row[data-room-id]")
    owner, author, _ = room.members
    page.set_viewport_size({"width": 1440, "height": 500})  # the end of the list is not near
    page.goto(server.url)  # the page of a room scrolls to its row, which is the last
    expect(rows).to_have_count(SIDEBAR_ITEMS)
    rows.last.scroll_into_view_if_needed()
    expect(rows).to_have_count(SIDEBAR_ITEMS + MORE + 1)

    page.goto(server.address(room))
    RoomPage(page).is_live()

    made = rows.filter(has_text=LAST)
    address = f"/rooms/{made.get_attribute('data-room-id')}"
    ask(server, owner, "PUT", f"{address}/members/{author.user}", {"role": "member"})
    ask(server, author, "POST", f"{address}/messages", {"text": "hello"})
    expect(made.locator("[data-count-figure]")).to_have_text("1")
    expect(page.locator("[data-section=rooms] [data-sum-figure]")).to_have_text("1")
    made.click()
    expect(page).to_have_title(f"{LAST} · Maru")


def test_search_finds_a_room_without_a_row(page: Page) -> None:
    page.keyboard.press("Control+k")
    page.keyboard.type(LAST)

    found = page.locator("#jump").get_by_role("link", name=LAST)

    expect(found).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page).to_have_title(f"{LAST} · Maru")


def test_people_are_loaded_and_searched_when_the_list_is_opened(page: Page) -> None:
    people = page.locator("[data-people]")
    expect(people.get_by_role("listitem")).to_have_count(0)

    people.get_by_text("People", exact=True).click()

    rows = people.get_by_role("listitem")
    expect(rows).to_have_count(2)
    name = rows.first.locator(".row-name").inner_text()
    people.get_by_label("Search for a member").fill("nobody of this name")
    expect(rows).to_have_count(0)
    people.get_by_label("Search for a member").fill(name)
    expect(rows).to_have_count(1)
    expect(people.get_by_role("link", name="All members")).to_be_visible()


def test_people_are_loaded_if_the_list_is_opened_before_the_scripts(
    server: Server, sign_in: Open, room: PopulatedRoom
) -> None:
    page = sign_in(room.members[0])
    page.add_init_script(
        "document.addEventListener('readystatechange', () => {"
        " if (document.readyState === 'interactive')"
        " document.querySelector('[data-people]').open = true; });"
    )

    page.goto(server.address(room))

    expect(page.locator("[data-people]").get_by_role("listitem")).to_have_count(2)


def test_current_room_is_in_view(page: Page, room: PopulatedRoom) -> None:
    expect(page.locator(f".sidebar a.row[data-room-id='{room.id}']")).to_be_in_viewport()


def test_new_conversation_appears_in_the_open_page_of_the_other(
    server: Server, sign_in: Open, room: PopulatedRoom
) -> None:
    owner, other, _ = room.members
    others_page = sign_in(other)
    RoomPage(others_page, server.address(room))
    owners_page = sign_in(owner)
    owners_page.goto(f"{server.url}/teams/{room.team}/around/{other.user}/")
    owners_page.get_by_role("button", name="Message").click()
    conversation = RoomPage(owners_page)
    conversation.is_live()
    rows = owners_page.locator(".sidebar a.row[data-room-id]")
    expect(rows).to_have_count(SIDEBAR_ITEMS + MORE + 2)  # also those above the current one
    expect(owners_page.locator(".sidebar [aria-current=page]")).to_be_in_viewport()
    name = owners_page.locator(".sidebar-me").inner_text()

    conversation.write("hello")

    row = others_page.locator("[data-section=direct] a.row").filter(has_text=name)
    expect(row.locator("[data-count-figure]")).to_have_text("1")
    row.click()
    expect(others_page).to_have_title(f"{name} · Maru")
    expect(others_page.locator("[data-room-name]")).to_have_text(name)
    expect(others_page.get_by_role("textbox", name=f"Message {name}")).to_be_visible()
    RoomPage(others_page).is_live()  # the snapshot has no name of the room
    expect(others_page).to_have_title(f"{name} · Maru")


def test_folded_section_stays_folded_and_shows_new_messages(
    server: Server, sign_in: Open, room: PopulatedRoom
) -> None:
    _owner, author, reader = room.members
    page = sign_in(reader)
    page.goto(server.url)
    rooms = page.locator("[data-section=rooms]")
    rooms.get_by_text("Rooms", exact=True).click()
    expect(rooms.locator("a.row").first).to_be_hidden()

    ask(server, author, "POST", f"/rooms/{room.id}/messages", {"text": "hello"})
    page.reload()

    expect(rooms.locator("a.row").first).to_be_hidden()
    expect(rooms.locator("[data-section-count]")).to_contain_text(re.compile("[1-9]"))


def test_muted_room_counts_nothing(server: Server, sign_in: Open, room: PopulatedRoom) -> None:
    _owner, author, reader = room.members
    body = {"users": [author.user], "personas": []}
    ask(server, reader, "POST", f"/teams/{room.team}/direct", body)
    page = sign_in(reader)
    page.goto(server.address(room))
    page.locator("[popovertarget=room-menu]").click()
    page.get_by_role("button", name="Mute", exact=True).click()
    row = page.locator(f".sidebar a.row[data-room-id='{room.id}']")
    expect(row).to_have_attribute("data-state", "muted")
    other = page.locator("[data-section=direct] a.row").first
    other.click()
    expect(other).to_have_attribute("aria-current", "page")  # the page before would read the room
    RoomPage(page).is_live()

    ask(server, author, "POST", f"/rooms/{room.id}/messages", {"text": "quiet"})

    expect(row).to_have_attribute("data-new", re.compile("[1-9]"))
    expect(row.locator("[data-count]")).to_be_hidden()


def test_card_of_a_member_opens_over_the_room(
    server: Server, sign_in: Open, room: PopulatedRoom
) -> None:
    page = sign_in(room.members[1])
    here = RoomPage(page, server.address(room))
    here.write("Who am I?")
    here.message("Who am I?").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # on the name of the author
    expect(page.get_by_role("dialog")).to_contain_text("(you)")
    page.keyboard.press("Escape")
    name = page.locator("#panel [data-kind=person] [data-name]").first.inner_text()
    link = page.locator("#panel").get_by_role("link", name=name).first

    link.click()

    card = page.get_by_role("dialog", name=name)
    expect(card).to_contain_text("@")
    page.keyboard.press("Escape")
    expect(card).to_have_count(0)
    expect(link).to_be_focused()
    assert page.url == server.address(room)
    link.click()
    card.get_by_role("button", name="Message").click()
    expect(page).to_have_title(f"{name} · Maru")
