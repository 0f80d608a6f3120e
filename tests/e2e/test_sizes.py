"""Layout on phones, narrow phones and at 200 % zoom."""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Open
from tests.e2e.room_page import RoomPage
from tests.e2e.server import Server
from tests.live import PopulatedRoom
from tests.provider import Provider

PHONE = {"width": 390, "height": 844}
NARROW = {"width": 320, "height": 640}
# The viewport of 1440×900 at 200 % zoom.
ZOOMED = {"width": 720, "height": 450}
WIDE = "https://example.com/" + "a-very-long-path" * 20
CODE = f"```python\nx = 1  # {'long ' * 60}\n```"
TABLE = f"| a | b |\n|---|---|\n| {'w' * 200} | 2 |"

NUMBERS = (
    "| Device | Tries | Change from the week before |\n|---|---|---|\n| Android | 18,204 | -9.1 |"
)

BEYOND = """
() => {
  const isOut = (element) => {
    const { left, right, width } = element.getBoundingClientRect();
    return width > 0 && (right > innerWidth + 1 || left < -1);
  };
  const isCut = (element) => {
    const parent = element.parentElement;
    if (!parent || parent.matches("body, .shell")) return false;
    return (getComputedStyle(parent).overflowX !== "visible" && !isOut(parent)) || isCut(parent);
  };
  return [...document.querySelectorAll("body *")]
    .filter((element) => element.checkVisibility() && isOut(element) && !isCut(element))
    .map((element) => element.outerHTML.slice(0, 120));
}
"""


# The number of lines of an element's text.
LINES = """
(element) => {
  const range = document.createRange();
  range.selectNodeContents(element);
  return new Set([...range.getClientRects()].map(({ top }) => Math.round(top))).size;
}
"""


@pytest.fixture(scope="module")
def room(server: Server) -> PopulatedRoom:
    return server.populate(1, 2, "echo")[0]


def too_wide_elements(page: Page) -> list[str]:
    """Return the elements wider than the page, except inside scrolling or clipping containers."""
    found: list[str] = page.evaluate(BEYOND)
    return found


def test_phone_navigates_from_the_list_to_a_room_and_back(
    server: Server, room: PopulatedRoom, sign_in: Open
) -> None:
    page = sign_in(room.members[0], viewport=PHONE, has_touch=True, is_mobile=True)
    row = page.locator(f".row[data-room-id='{room.id}']")

    page.goto(server.url)
    expect(page.locator("main")).to_be_visible()
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Rooms").tap()
    expect(row).to_be_visible()
    expect(page.locator("main")).to_be_hidden()
    row.tap()
    room_page = RoomPage(page)
    room_page.is_live()
    expect(row).to_be_hidden()
    room_page.ask("From a phone")
    room_page.ended()
    page.get_by_role("link", name="Back").tap()

    expect(row).to_be_visible()
    expect(row).to_contain_text("From a phone")


def test_tap_stops_an_answer(server: Server, sign_in: Open, provider: Provider) -> None:
    (room,) = server.populate(1, 1, "held-5")
    page = sign_in(room.members[0], viewport=PHONE, has_touch=True, is_mobile=True)
    room_page = RoomPage(page, server.address(room))
    room_page.ask("Count, please")
    expect(room_page.answer_text).to_have_text("t0 t1 t2 t3 t4")

    room_page.answer.get_by_role("button", name="Stop").tap()

    room_page.ended("stopped")
    provider.release()


def test_phone_navigates_between_settings(
    server: Server, room: PopulatedRoom, sign_in: Open
) -> None:
    page = sign_in(room.members[0], viewport=PHONE, has_touch=True, is_mobile=True)
    page.goto(f"{server.url}/me/")
    page.get_by_role("link", name="Back").tap()
    page.get_by_role("link", name="Sessions").tap()
    expect(page.get_by_role("heading", name="Sessions")).to_be_visible()

    page.goto(f"{server.url}/teams/{room.team}/")
    page.get_by_role("link", name="Back").tap()
    page.get_by_role("link", name="Audit").tap()
    expect(page.get_by_role("heading", name="Audit")).to_be_visible()


@pytest.mark.parametrize("width", [390, 768])
def test_names_and_numbers_stay_on_one_line(
    server: Server, room: PopulatedRoom, sign_in: Open, width: int
) -> None:
    page = sign_in(room.members[0], viewport={"width": width, "height": 844})
    room_page = RoomPage(page, server.address(room))

    room_page.ask(NUMBERS)
    room_page.ended()
    for words in ("Android", "18,204"):
        cell = room_page.answer_text.get_by_role("cell", name=words, exact=True)
        assert cell.evaluate(LINES) == 1, words
    for path in (f"/teams/{room.team}/people/", f"/rooms/{room.id}/settings/#people"):
        page.goto(server.url + path)
        names = page.locator("[data-user-id] .list-name bdi, .list-item:has(form) .list-name > bdi")
        assert {name.evaluate(LINES) for name in names.all()} == {1}, path


@pytest.mark.parametrize("viewport", [PHONE, NARROW, ZOOMED], ids=["390", "320", "zoomed"])
def test_no_element_is_wider_than_the_page(
    server: Server, room: PopulatedRoom, sign_in: Open, viewport: dict[str, int]
) -> None:
    page = sign_in(room.members[0], viewport=viewport)
    room_page = RoomPage(page, server.address(room))

    room_page.ask(f"{WIDE}\n\n{CODE}\n\n{TABLE}")
    room_page.ended()
    assert too_wide_elements(page) == []
    expect(room_page.field).to_be_in_viewport()
    expect(room_page.answer_text).to_be_in_viewport()
    for path in (
        "/",
        "/rooms/",
        f"/teams/{room.team}/around/{room.members[1].user}/",
        f"/teams/{room.team}/direct/",
        f"/teams/{room.team}/people/invite/",
        f"/rooms/{room.id}/settings/",
        f"/teams/{room.team}/rooms/new/",
        f"/teams/{room.team}/personas/new/",
        f"/teams/{room.team}/connections/",
        f"/teams/{room.team}/",
        f"/teams/{room.team}/people/",
        f"/teams/{room.team}/audit/",
        "/me/",
        "/me/tokens/",
        "/api/v1/docs",
    ):
        page.goto(server.url + path)
        assert too_wide_elements(page) == [], path


def test_paper_has_all_messages_and_nothing_to_press(
    server: Server, room: PopulatedRoom, sign_in: Open
) -> None:
    room_page = RoomPage(sign_in(room.members[0]), server.address(room))
    room_page.ask("\n\n".join(["A line."] * 40))
    room_page.ended()
    page = sign_in(room.members[0], java_script_enabled=False, viewport=NARROW)
    page.goto(server.address(room))
    page.emulate_media(media="print")

    expect(page.locator("#composer-text, .sidebar")).to_have_count(2)
    for hidden in page.locator("#composer-text, .sidebar, .header-actions").all():
        expect(hidden).to_be_hidden()
    scrolls = page.locator("[data-scroll]").evaluate("(box) => box.scrollHeight > box.clientHeight")
    assert not scrolls
    assert page.evaluate("document.documentElement.scrollHeight > innerHeight")


def test_width_check_finds_a_wide_element(
    server: Server, room: PopulatedRoom, sign_in: Open
) -> None:
    page = sign_in(room.members[0], viewport=PHONE)
    page.goto(server.address(room))
    assert too_wide_elements(page) == []

    page.locator(".room-head .header-title").evaluate("(title) => (title.style.minWidth = '500px')")

    assert too_wide_elements(page) != []
