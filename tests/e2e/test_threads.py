"""Threads: two people and a persona in one thread, at each width, with and without scripts."""

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import Open
from tests.e2e.page_monitor import PageMonitor
from tests.e2e.room_page import RoomPage
from tests.e2e.server import Server
from tests.live import PopulatedRoom

PHONE = {"width": 390, "height": 844}
TABLET = {"width": 768, "height": 1024}


def open_thread(page: Page, text: str) -> Locator:
    """Open the thread of a message by key and return the panel."""
    RoomPage(page).message(text).first.focus()
    page.keyboard.press("t")
    panel = page.locator("#thread")
    expect(panel).to_be_visible()
    return panel


def reply(panel: Locator, text: str, key: str = "Enter") -> None:
    field = panel.locator("textarea[name=text]")
    field.fill(text)
    field.press(key)


def bodies(panel: Locator) -> Locator:
    return panel.locator(".message [data-body]")


@pytest.fixture(scope="module")
def room(server: Server) -> PopulatedRoom:
    (room,) = server.populate(1, 2, "echo")
    return room


def test_two_people_and_a_persona_talk_in_one_thread(
    server: Server, room: PopulatedRoom, sign_in: Open
) -> None:
    first, second = (sign_in(person) for person in room.members[:2])
    here, there = (RoomPage(page, server.address(room)) for page in (first, second))
    here.write("Let us talk @nobody")
    expect(there.message("Let us talk @nobody")).to_be_visible()
    mine = open_thread(first, "Let us talk @nobody")

    reply(mine, "first reply")
    hint = second.locator("[data-thread-hint]").last
    hint.click()
    theirs = second.locator("#thread")
    theirs.locator("textarea[name=text]").fill("second")
    expect(mine.locator("[data-line]")).to_contain_text("is typing")
    reply(theirs, "second reply")
    reply(mine, "@echo in the thread, please")

    expect(bodies(theirs).filter(has_text="in the thread, please")).to_have_count(2)
    for panel in (mine, theirs):  # the persona answers each of the three replies
        expect(panel.locator(".message[data-author=persona][data-state=completed]")).to_have_count(
            3
        )
    assert bodies(mine).all_inner_texts() == bodies(theirs).all_inner_texts()
    answer = mine.locator(".message[data-author=persona]").last
    answer.hover()
    answer.get_by_role("button", name="Good answer").click()
    expect(theirs.locator(".message[data-author=persona] [data-up]").last).to_have_text("1")
    answer.get_by_role("button", name="More actions for this message").click()
    menu = first.locator("#message-menu")
    expect(menu.get_by_text("Mark as unread from here")).to_be_hidden()
    menu.get_by_text("Pin", exact=True).click()
    expect(theirs.locator("[data-pinned]:visible")).to_have_count(1)
    expect(theirs.locator("[data-thread-count]")).to_contain_text("6 replies")
    for page in (first, second):
        in_room = page.locator("[data-conversation] .message")
        expect(in_room.filter(has_text="first reply")).to_have_count(0)
        expect(page.locator("[data-thread-hint]").last).to_contain_text("6 replies")
        expect(page.locator("[data-thread-hint] [data-new]").last).to_be_hidden()


def test_reply_is_also_sent_to_the_room_and_escape_returns_to_the_message(
    server: Server, room: PopulatedRoom, sign_in: Open
) -> None:
    page = sign_in(room.members[0])
    here = RoomPage(page, server.address(room))
    here.write("For both")
    expect(here.message("For both")).to_be_visible()
    panel = open_thread(page, "For both")
    expect(page).to_have_url(re.compile(r"/threads/[0-9a-f-]{36}/$"))

    reply(panel, "in both places", "Control+Enter")

    in_room = page.locator("[data-conversation] .message")
    expect(in_room.filter(has_text="in both places")).to_be_visible()
    expect(bodies(panel).filter(has_text="in both places").first).to_be_visible()
    panel.locator("textarea[name=text]").fill("a draft")
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(here.message("For both")).to_be_focused()
    expect(page).to_have_url(server.address(room))
    page.go_back()
    expect(panel.locator("textarea[name=text]")).to_have_value("a draft")
    page.reload()
    again = bodies(page.locator("#thread")).filter(has_text="in both places")
    expect(again.first).to_be_visible()
    here.is_live()
    panel.locator("[data-thread-close]").click()
    expect(panel).to_be_hidden()
    open_thread(page, "For both")
    expect(bodies(panel).first).to_have_text("For both")  # the server has rendered it
    root = panel.locator(".message").first
    root.hover()
    root.get_by_role("button", name="Edit the message").click()
    page.keyboard.press("Escape")  # ends the edit only
    expect(panel.locator("[data-editor]")).to_have_count(0)
    expect(panel).to_be_visible()
    expect(root.locator("[data-reply]")).to_be_hidden()


@pytest.mark.parametrize("size", [PHONE, TABLET], ids=["phone", "tablet"])
def test_thread_covers_the_room_on_narrow_screens(
    server: Server, room: PopulatedRoom, sign_in: Open, size: dict[str, Any]
) -> None:
    page = sign_in(room.members[0], viewport=size)
    here = RoomPage(page, server.address(room))
    here.write(f"At {size['width']}")
    expect(here.message(f"At {size['width']}")).to_be_visible()

    panel = open_thread(page, f"At {size['width']}")

    box = panel.bounding_box()
    assert box is not None
    assert box["width"] == (390 if size is PHONE else 408)
    assert box["x"] + box["width"] == size["width"]
    back = panel.locator("[data-thread-back]" if size is PHONE else "[data-thread-close]")
    back.click()
    expect(panel).to_be_hidden()


def test_thread_that_could_not_be_loaded_is_loaded_with_the_next_connection(
    server: Server, room: PopulatedRoom, sign_in: Open, monitor: PageMonitor
) -> None:
    monitor.expect("ERR_FAILED")
    monitor.expect("ERR_INTERNET_DISCONNECTED")
    page = sign_in(room.members[0], viewport=PHONE)
    here = RoomPage(page, server.address(room))
    here.write("Over a bad line")
    panel = open_thread(page, "Over a bad line")
    reply(panel, "the reply")
    # Afterwards no event of this thread arrives, which would be shown without a load.
    answers = panel.locator(".message[data-author=persona][data-state=completed]")
    expect(answers).to_have_count(1)
    panel.locator("[data-thread-back]").click()
    page.route("**/threads/*/data/", lambda route: route.abort())

    open_thread(page, "Over a bad line")

    line = panel.locator("[data-line]")  # the panel covers that of the room
    expect(line).to_have_text("The replies could not be loaded. Try again.")
    expect(bodies(panel)).to_have_text(["Over a bad line"])
    page.unroute("**/threads/*/data/")
    page.context.set_offline(True)
    expect(line).to_have_attribute("data-state", "lost")
    page.context.set_offline(False)
    expect(bodies(panel).filter(has_text="the reply").first).to_be_visible()


def test_thread_of_an_answer_goes_on_below_its_new_version(
    server: Server, room: PopulatedRoom, sign_in: Open
) -> None:
    first, second = (sign_in(person) for person in room.members[:2])
    here, there = (RoomPage(page, server.address(room)) for page in (first, second))
    here.ask("Repeat this")
    here.ended()
    here.answer.focus()
    first.keyboard.press("t")
    panel = first.locator("#thread")
    reply(panel, "first reply")
    answers = panel.locator(".message[data-author=persona][data-state=completed]")
    expect(answers).to_have_count(2)
    before = first.url

    answer = first.locator("[data-conversation] .message[data-author=persona]").last
    answer.hover()
    answer.get_by_role("button", name="Answer again").click()

    expect(answer.locator("[data-version-words]")).to_have_text("Answer 2 of 2")
    expect(first).not_to_have_url(before)
    expect(bodies(panel).filter(has_text="first reply")).to_have_count(2)
    reply(panel, "second reply")
    expect(answers).to_have_count(3)
    for page in (first, second):
        expect(page.locator("[data-thread-hint]").last).to_contain_text("4 replies")
    there.page.goto(before)  # the address of the earlier version
    expect(there.page).to_have_url(re.compile(f"^{first.url}"))
    expect(bodies(there.page.locator("#thread"))).to_have_count(5)


def test_thread_and_the_list_of_threads_work_without_scripts(
    server: Server, room: PopulatedRoom, sign_in: Open
) -> None:
    page = sign_in(room.members[1], java_script_enabled=False)
    page.goto(server.address(room))
    page.locator("#composer-text").fill("Without scripts")
    page.locator("[data-composer] [data-send]").first.click()

    question = page.locator(".message").filter(has_text="Without scripts").first
    question.get_by_role("link", name="Reply in a thread").click()
    panel = page.locator("#thread")
    panel.locator("textarea[name=text]").fill("a plain reply")
    panel.locator("[data-send]").click()

    expect(bodies(panel).filter(has_text="a plain reply").first).to_be_visible()
    page.locator("[data-threads-row]").click()
    entry = page.get_by_role("link", name=re.compile("Without scripts"))
    expect(entry).to_be_visible()
    entry.click()
    panel.get_by_role("button", name="Following").click()
    expect(panel.get_by_role("button", name="Follow", exact=True)).to_be_visible()
