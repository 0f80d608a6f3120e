"""A long room: scrolling, jumps, and how many elements the page has."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Open
from tests.e2e.long_room import fill
from tests.e2e.room_page import RoomPage
from tests.e2e.server import Server
from tests.live import PopulatedRoom

COUNT = 2_000
MOST_ELEMENTS = 1_500


@pytest.fixture(scope="module")
def room(server: Server) -> PopulatedRoom:
    """A room with COUNT messages, one an hour; the reader has read all but the last 300."""
    (room,) = server.populate(1, 2)
    fill(server.installation, room, COUNT, unread=300)
    return room


@pytest.fixture
def page(server: Server, sign_in: Open, room: PopulatedRoom) -> Page:
    page = sign_in(room.members[0])
    RoomPage(page, server.address(room))
    page.evaluate(WATCH)
    return page


# Records the highest number of elements, and the requests that are not for data.
WATCH = """() => {
  window.most = 0;
  const count = () => {
    window.most = Math.max(window.most, document.getElementsByTagName("*").length);
    requestAnimationFrame(count);
  };
  requestAnimationFrame(count);
}"""
UP = """([wanted, most]) => {
  const box = document.querySelector("[data-scroll]");
  const text = () => document.querySelector(".message [data-body]").textContent;
  return new Promise((resolve) => {
    let rest = most;
    const step = () => {
      if (!(rest -= 1) || text() === wanted) return resolve(text());
      box.scrollTop -= 600;
      setTimeout(step, 8);
    };
    step();
  });
}"""


def test_scrolling_to_the_first_message_and_back_keeps_few_elements(page: Page) -> None:
    documents: list[str] = []
    page.on("request", lambda request: documents.append(request.resource_type))

    assert page.evaluate(UP, ["Message 1", 4_000]) == "Message 1"

    assert page.evaluate("window.most") <= MOST_ELEMENTS
    assert page.locator(".message-tools").count() == 1  # those of the tab stop
    RoomPage(page).messages.nth(2).hover()
    expect(page.locator(".message:hover > .message-tools")).to_be_visible()
    assert page.locator(".message-tools").count() == 2
    assert set(documents) == {"fetch"}
    expect(page.locator("[data-newer]")).to_be_visible()
    page.locator("[data-newer]").click()
    expect(RoomPage(page).messages.last).to_contain_text(f"Message {COUNT}")
    expect(RoomPage(page).messages.last).to_be_in_viewport()
    assert page.evaluate("window.most") <= MOST_ELEMENTS


def test_place_that_is_read_does_not_move_while_messages_are_loaded_and_removed(
    page: Page,
) -> None:
    moved = page.evaluate(
        """async () => {
          const box = document.querySelector("[data-scroll]");
          const frame = () => new Promise(requestAnimationFrame);
          const moves = [];
          for (const by of [...Array(60).fill(-150), ...Array(50).fill(150)]) {
            // At the end of what is loaded, the box cannot scroll as far until more has come.
            const above = () => box.scrollHeight - box.clientHeight + box.scrollTop;
            const left = () => by < 0 ? above() : -box.scrollTop;
            while (left() < Math.abs(by)) await frame();
            const middle = box.getBoundingClientRect().top + box.clientHeight / 2;
            const all = [...document.querySelectorAll(".message")];
            const read = all.find((one) => one.getBoundingClientRect().bottom > middle);
            const before = read.getBoundingClientRect().top;
            box.scrollTop += by;
            await frame();
            await frame();
            moves.push(Math.abs(read.getBoundingClientRect().top - before + by));
          }
          return Math.max(...moves);
        }"""
    )

    assert moved <= 1


def test_jumps_go_to_a_date_to_the_first_unread_message_and_back(
    server: Server, sign_in: Open
) -> None:
    (unread,) = server.populate(1, 2)
    fill(server.installation, unread, COUNT, unread=300)
    page = sign_in(unread.members[0])
    room = RoomPage(page, server.address(unread))
    page.evaluate(WATCH)

    page.locator("[data-first-unread]").click()

    expect(room.message(f"Message {COUNT - 299}")).to_be_in_viewport()
    expect(page.locator("[data-unread] + .message")).to_contain_text(f"Message {COUNT - 299}")
    page.locator("[popovertarget=room-menu]").click()
    page.get_by_label("Go to a date").fill("2025-01-11")
    page.get_by_role("button", name="Go", exact=True).click()
    # The eleventh day begins at midnight in Seoul: 15:00 of the tenth day in UTC.
    expect(room.message("Message 228")).to_be_in_viewport()
    expect(room.message("Message 228")).to_be_focused()
    page.locator("[data-newer]").click()
    expect(room.messages.last).to_contain_text(f"Message {COUNT}")
    assert page.evaluate("window.most") <= MOST_ELEMENTS


def test_date_and_history_without_scripts(
    server: Server, sign_in: Open, room: PopulatedRoom
) -> None:
    page = sign_in(room.members[0], java_script_enabled=False)

    page.goto(f"{server.address(room)}?on=2025-01-11")

    expect(RoomPage(page).message("Message 237")).to_be_visible()


def test_link_to_an_old_message_opens_the_live_room(
    server: Server, sign_in: Open, room: PopulatedRoom
) -> None:
    page = sign_in(room.members[0])
    room_page = RoomPage(page, f"{server.address(room)}?on=2025-01-11")
    old = room_page.message("Message 237")  # the page does not know the time zone yet
    expect(old).to_be_in_viewport()
    link = old.locator(".message-time").get_attribute("href")
    page.goto(f"{server.url}{link}")

    room_page.is_live()

    expect(page).to_have_url(re.compile(rf"^{server.address(room)}#message-[0-9a-f-]+$"))
    expect(old).to_be_in_viewport()
    page.reload()
    expect(old).to_be_in_viewport()  # the address has its id
    expect(room_page.field).to_be_visible()
    page.locator("[data-newer]").click()
    expect(room_page.messages.last).to_contain_text(f"Message {COUNT}")
