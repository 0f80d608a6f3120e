"""What a room page loads on demand: before it is loaded, and when it cannot be loaded."""

import re

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.e2e.conftest import Open
from tests.e2e.page_monitor import PageMonitor
from tests.e2e.room_page import RoomPage
from tests.e2e.server import Server
from tests.e2e.test_acting import ASK, CANARY, card, give_tools, press
from tests.e2e.test_threads import bodies, open_thread, reply
from tests.live import PopulatedRoom

ACTING = re.compile(r"/bundles/acting\.\w+\.js")
THREAD = re.compile(r"/bundles/thread\.\w+\.js")
EMOJI = re.compile(r"/emoji-picker-element/picker\.\w+\.js")
BORDER = "(card) => getComputedStyle(card).borderTopWidth"
ANSWER = ".message[data-author=persona][data-state=completed]"
FAILED = "This could not be loaded. Try again, or load the page again."


@pytest.fixture
def room(server: Server) -> PopulatedRoom:
    room = server.populate(1, 2, "tools")[0]
    give_tools(server, room)
    return room


def stop_answer(here: RoomPage) -> None:
    here.answer.get_by_role("button", name="Stop").click()
    here.ended("stopped")


def open_late(page: Page, address: str) -> list[Route]:
    """Open a room whose script of cards stays on its way; return the requests."""
    held: list[Route] = []
    page.route(ACTING, lambda route: held.append(route))  # noqa: PLW0108 # needs a signature
    page.goto(address, wait_until="commit")  # the request would hold the end of the load
    RoomPage(page).is_live()
    return held


def test_card_appears_when_its_script_can_be_loaded_again(
    server: Server, room: PopulatedRoom, sign_in: Open, monitor: PageMonitor
) -> None:
    monitor.expect("ERR_FAILED")
    page = sign_in(room.members[1])
    page.route(ACTING, lambda route: route.abort())
    here = RoomPage(page, server.address(room))
    here.ask(ASK)
    expect(here.answer.locator("[data-work]")).to_have_text("Waiting for you")
    link = page.get_by_role("link", name="1 decision waits")

    link.click()

    expect(here.line).to_have_text(FAILED)
    expect(card(here)).to_have_count(0)
    rename = ("PATCH", f"/rooms/{room.id}", room.members[0].token, {"name": "It goes on"})
    assert server.installation.request(*rename)[0] == 200
    expect(page.locator("h1 [data-room-name]")).to_have_text("It goes on")
    page.unroute(ACTING)
    link.click()
    expect(card(here)).to_be_focused()
    expect(card(here)).to_contain_text(f"expression{CANARY} + 1")
    press(here, "Allow once")
    here.ended()
    expect(card(here)).to_contain_text("Calculator, allowed once by")


def test_card_appears_with_the_next_connection(
    server: Server, room: PopulatedRoom, sign_in: Open, monitor: PageMonitor
) -> None:
    monitor.expect("ERR_FAILED")
    monitor.expect("ERR_INTERNET_DISCONNECTED")
    page = sign_in(room.members[1])
    page.route(ACTING, lambda route: route.abort())
    here = RoomPage(page, server.address(room))
    here.ask(ASK)
    expect(here.answer.locator("[data-work]")).to_have_text("Waiting for you")
    expect(card(here)).to_have_count(0)
    page.unroute(ACTING)

    page.context.set_offline(True)
    expect(here.line).to_have_attribute("data-state", "lost")
    page.context.set_offline(False)

    expect(card(here)).to_contain_text(f"expression{CANARY} + 1")
    stop_answer(here)


def test_press_before_the_script_is_loaded_is_carried_out(
    server: Server, room: PopulatedRoom, sign_in: Open
) -> None:
    page = sign_in(room.members[1])
    RoomPage(page, server.address(room)).ask(ASK)
    here = RoomPage(page)
    expect(card(here)).to_have_attribute("data-mine", "")
    held = open_late(page, server.address(room))
    assert card(here).evaluate(BORDER) == "1px"  # its style sheet does not wait

    press(here, "Deny with a word")
    word = card(here).get_by_role("textbox")
    expect(word).to_be_hidden()
    for route in held:
        route.continue_()

    expect(word).to_be_focused()
    page.keyboard.press("Escape")
    held = open_late(page, server.address(room))
    press(here, "Allow once")
    expect(card(here).get_by_role("button", name="Allow once")).to_be_enabled()
    for route in held:
        route.continue_()
    here.ended()
    expect(card(here)).to_contain_text("Calculator, allowed once by")


def test_press_on_a_card_whose_script_cannot_be_loaded_can_be_repeated(
    server: Server, room: PopulatedRoom, sign_in: Open, monitor: PageMonitor
) -> None:
    monitor.expect("ERR_FAILED")
    page = sign_in(room.members[1])
    RoomPage(page, server.address(room)).ask(ASK)
    here = RoomPage(page)
    expect(card(here)).to_have_attribute("data-mine", "")
    page.route(ACTING, lambda route: route.abort())
    page.reload()
    here.is_live()

    press(here, "Allow once")
    expect(here.line).to_have_text(FAILED)
    page.unroute(ACTING)
    press(here, "Allow once")

    here.ended()
    expect(card(here)).to_contain_text("Calculator, allowed once by")


def reply_button(here: RoomPage, text: str) -> Locator:
    here.message(text).hover()
    return here.message(text).locator("[data-reply]")


def test_thread_opens_when_its_script_can_be_loaded_again(
    server: Server, room: PopulatedRoom, sign_in: Open, monitor: PageMonitor
) -> None:
    monitor.expect("ERR_FAILED")
    page = sign_in(room.members[0])
    here = RoomPage(page, server.address(room))
    here.write("Let us talk @nobody")
    page.route(THREAD, lambda route: route.abort())

    reply_button(here, "Let us talk @nobody").click()

    expect(here.line.first).to_have_text(FAILED)
    expect(page.locator("#thread")).to_be_hidden()
    assert page.url == server.address(room)
    page.unroute(THREAD)
    panel = open_thread(page, "Let us talk @nobody")
    expect(bodies(panel)).to_have_text(["Let us talk @nobody"])
    reply(panel, "the reply")
    expect(bodies(panel).get_by_text("the reply", exact=True)).to_be_visible()


def test_reply_before_the_script_of_a_rendered_thread_is_shown_later(
    server: Server, room: PopulatedRoom, sign_in: Open
) -> None:
    first, second = (sign_in(person) for person in room.members)
    there = RoomPage(second, server.address(room))
    there.write("Let us talk @nobody")
    theirs = open_thread(second, "Let us talk @nobody")
    reply(theirs, "the first reply")
    expect(theirs.locator(ANSWER)).to_have_count(1)
    held: list[Route] = []
    first.route(THREAD, lambda route: held.append(route))  # noqa: PLW0108 # needs a signature
    first.goto(second.url)
    here = RoomPage(first)
    here.is_live()
    mine = first.locator("#thread")
    expect(bodies(mine).get_by_text("the first reply", exact=True)).to_be_visible()

    reply(theirs, "the second reply")
    expect(first.locator("#timeline [data-thread-hint]")).to_contain_text("4 replies")
    expect(mine.locator(ANSWER)).to_have_count(1)
    for route in held:
        route.continue_()

    expect(bodies(mine).get_by_text("the second reply", exact=True)).to_be_visible()
    expect(mine.locator(ANSWER)).to_have_count(2)


def test_waiting_answer_keeps_its_text_when_the_script_of_its_thread_is_loaded(
    server: Server, room: PopulatedRoom, sign_in: Open
) -> None:
    page = sign_in(room.members[0])
    RoomPage(page, server.address(room)).write("Let us talk @nobody")
    panel = open_thread(page, "Let us talk @nobody")
    reply(panel, f"@tools {ASK}")
    answer = panel.locator(".message[data-state=waiting]")
    expect(answer.locator("[data-body]")).to_have_text("Let me see.")

    page.reload()
    expect(answer.locator("[data-elapsed]")).not_to_be_empty()  # by the script

    expect(answer.locator("[data-body]")).to_have_text("Let me see.")
    RoomPage(page).is_live()
    answer.get_by_role("button", name="Stop").click()
    expect(panel.locator(".message[data-state=stopped]")).to_be_visible()


def test_emoji_can_be_loaded_again(
    server: Server, room: PopulatedRoom, sign_in: Open, monitor: PageMonitor
) -> None:
    monitor.expect("ERR_FAILED")
    page = sign_in(room.members[0])
    here = RoomPage(page, server.address(room))
    page.route(EMOJI, lambda route: route.abort())

    page.locator("[data-emoji-button]").click()
    expect(here.line).to_have_text("The emoji could not be loaded. Try again.")
    page.unroute(EMOJI)
    page.locator("[data-emoji-button]").click()

    expect(page.locator("[data-emoji-picker] emoji-picker")).to_be_visible()
