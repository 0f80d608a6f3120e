"""The sidebar of a reader with many rooms: rows on demand, search, and the list of people."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from rooms.pages.sidebar import SIDEBAR_ITEMS
from tests.e2e.conftest import Open
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
    expect(rows).to_have_count(SIDEBAR_ITEMS + 1)  # and the room of the page
    owner, author, _ = room.members

    rows.last.scroll_into_view_if_needed()

    expect(rows).to_have_count(SIDEBAR_ITEMS + MORE + 1)
    made = rows.filter(has_text=LAST)
    address = f"/rooms/{made.get_attribute('data-room-id')}"
    ask(server, owner, "PUT", f"{address}/members/{author.user}", {"role": "member"})
    ask(server, author, "POST", f"{address}/messages", {"text": "hello"})
    expect(made.locator("[data-count-figure]")).to_have_text("1")
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

    people.get_by_text("Members", exact=True).click()

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
