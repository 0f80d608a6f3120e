"""Reacting to, editing and deleting a message in the page."""

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.e2e.conftest import Open
from tests.e2e.room_page import RoomPage
from tests.e2e.server import Server
from tests.live import PopulatedRoom


@pytest.fixture(scope="module")
def room(server: Server) -> PopulatedRoom:
    """A room in which no persona answers."""
    room = server.populate(1, 2)[0]
    token, change = room.members[0].token, {"answer_policy": "off"}
    assert server.installation.request("PATCH", f"/rooms/{room.id}", token, change)[0] == 200
    return room


@pytest.fixture
def both(server: Server, room: PopulatedRoom, sign_in: Open) -> tuple[RoomPage, RoomPage]:
    """The room's page of its owner and of another member."""
    owner, member = (sign_in(person) for person in room.members)
    return RoomPage(owner, server.address(room)), RoomPage(member, server.address(room))


def tool(message: Locator, name: str) -> Locator:
    message.hover()
    return message.get_by_role("button", name=name)


def say(owner_page: RoomPage, member_page: RoomPage, text: str) -> None:
    owner_page.page.locator("#composer-text").fill(text)
    owner_page.page.locator("#composer-text").press("Enter")
    expect(member_page.message(text)).to_have_count(1)
    expect(owner_page.message(text)).to_have_count(1)


def test_edit_is_shown_to_all_members_and_escape_cancels_it(
    both: tuple[RoomPage, RoomPage],
) -> None:
    owner_page, member_page = both
    say(member_page, owner_page, "frist")
    mine = member_page.message("frist")

    tool(mine, "Edit the message").click()
    member_page.page.keyboard.press("Escape")
    expect(mine.locator("[data-editor]")).to_have_count(0)
    tool(mine, "Edit the message").click()
    field = member_page.page.locator("[data-editor] textarea")
    expect(field).to_be_focused()
    expect(field).to_have_value("frist")
    field.fill("first")
    field.press("Enter")

    for room_page in both:
        expect(room_page.message("first").locator("[data-edited]")).to_have_text("Edited")
        expect(room_page.message("frist")).to_have_count(0)
    owner_page.page.reload()
    expect(owner_page.message("first").locator("[data-edited]")).to_have_text("Edited")


def test_moderator_deletes_a_message_and_a_member_cannot(both: tuple[RoomPage, RoomPage]) -> None:
    owner_page, member_page = both
    say(member_page, owner_page, "delete me")
    say(owner_page, member_page, "keep me")
    expect(tool(member_page.message("keep me"), "Delete the message")).to_be_hidden()
    expect(tool(member_page.message("keep me"), "Edit the message")).to_be_hidden()
    expect(tool(owner_page.message("delete me"), "Edit the message")).to_be_hidden()

    button = tool(owner_page.message("delete me"), "Delete the message")
    button.click()
    expect(member_page.message("delete me")).to_have_count(1)
    button.click()

    for room_page in both:
        expect(room_page.message("delete me")).to_have_count(0)
        gone = room_page.message("This message was deleted.")
        expect(gone).to_have_attribute("data-state", "deleted")
    for room_page in both:
        assert "delete me" not in room_page.page.content()
    owner_page.page.reload()
    expect(owner_page.message("This message was deleted.")).to_have_count(1)


def test_own_reaction_is_a_pressed_button(
    both: tuple[RoomPage, RoomPage],
) -> None:
    owner_page, member_page = both
    say(owner_page, member_page, "react to me")

    tool(member_page.message("react to me"), "React to the message").click()
    member_page.message("react to me").get_by_role("group", name="React").get_by_text("🎉").click()

    pills = [one.message("react to me").locator("[data-reactions] button") for one in both]
    for pill, pressed in zip(pills, ("false", "true"), strict=True):
        expect(pill).to_have_text(re.compile("🎉\\s*1"))
        expect(pill).to_have_attribute("aria-pressed", pressed)
    assert pills[0].bounding_box()["height"] == 24  # type: ignore[index]  # the element is in the page
    pills[0].click()
    for pill in pills:
        expect(pill).to_have_text(re.compile("🎉\\s*2"))
        expect(pill).to_have_attribute("aria-pressed", "true")
    owner_page.page.reload()
    expect(pills[0]).to_have_attribute("aria-pressed", "true")
    owner_page.is_live()
    for pill in pills:
        pill.click()
    for pill in pills:
        expect(pill).to_have_count(0)
