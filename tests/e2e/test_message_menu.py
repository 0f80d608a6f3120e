"""Links, pins, quotes, the unread mark, votes and versions of answers in the page."""

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.e2e.conftest import Open
from tests.e2e.room_page import RoomPage
from tests.e2e.server import Server
from tests.live import PopulatedRoom


@pytest.fixture(scope="module")
def room(server: Server) -> PopulatedRoom:
    return server.populate(1, 2, "echo")[0]


@pytest.fixture
def both(server: Server, room: PopulatedRoom, sign_in: Open) -> tuple[RoomPage, RoomPage]:
    """The room's page of its owner and of another member."""
    owner, member = (sign_in(person) for person in room.members)
    return RoomPage(owner, server.address(room)), RoomPage(member, server.address(room))


def choose(room_page: RoomPage, message: Locator, item: str) -> None:
    """Choose an item of the menu of a message."""
    message.hover()
    message.get_by_role("button", name="More actions for this message").click()
    room_page.page.locator("#message-menu").get_by_text(item, exact=True).click()


def say(one: RoomPage, other: RoomPage, text: str) -> None:
    """Post a message that no persona answers."""
    one.page.locator("[data-answers-opener]").click()
    one.page.locator("#answers-menu").get_by_text("No persona").click()
    one.write(text)
    for each in (one, other):
        expect(each.message(text)).to_have_count(1)


def test_pin_is_shown_in_the_panel_of_all_members_and_leads_to_the_message(
    both: tuple[RoomPage, RoomPage],
) -> None:
    owner_page, member_page = both
    say(member_page, owner_page, "pin me")

    choose(member_page, member_page.message("pin me"), "Pin")

    pins = [each.page.locator("[data-panel-pins] a") for each in both]
    for pin in pins:
        expect(pin).to_contain_text("pin me")
    expect(owner_page.message("pin me").locator("[data-pinned]")).to_be_visible()
    member_page.page.reload()
    member_page.is_live()
    pins[1].click()
    expect(member_page.page).to_have_url(re.compile(r"#message-[0-9a-f-]{36}$"))
    expect(member_page.page.locator(".message:target")).to_be_focused()
    choose(member_page, member_page.message("pin me"), "Remove the pin")
    for each in both:
        expect(each.page.locator("[data-panel-pinned]")).to_be_hidden()
        expect(each.message("pin me").locator("[data-pinned]")).to_be_hidden()


def test_copied_link_leads_another_member_to_the_message(both: tuple[RoomPage, RoomPage]) -> None:
    owner_page, member_page = both
    say(owner_page, member_page, "find me")
    owner_page.page.context.grant_permissions(["clipboard-read", "clipboard-write"])

    choose(owner_page, owner_page.message("find me"), "Copy link")

    expect(owner_page.line).to_have_text("The link was copied.")
    link = owner_page.page.evaluate("navigator.clipboard.readText()")
    member_page.page.goto(link)
    expect(member_page.page.locator(".message:target [data-body]")).to_have_text("find me")


def test_quote_goes_to_the_composer_and_the_arrow_key_edits_the_last_message(
    both: tuple[RoomPage, RoomPage],
) -> None:
    owner_page, member_page = both
    say(member_page, owner_page, "two words")

    owner_page.field.fill("See:")
    quoted = owner_page.message("two words")
    quoted.hover()
    quoted.get_by_role("button", name="Quote the message").click()
    expect(owner_page.field).to_have_value("See:\n\n> two words\n\n")
    expect(owner_page.field).to_be_focused()
    owner_page.field.fill("")
    quoted.locator("[data-body] p").dblclick(position={"x": 5, "y": 8})  # selects the first word
    quoted.get_by_role("button", name="Quote the message").click()
    expect(owner_page.field).to_have_value("> two\n\n")

    owner_page.field.fill("")
    say(owner_page, member_page, "frist")
    owner_page.field.press("ArrowUp")
    editor = owner_page.page.locator("[data-editor] textarea")
    expect(editor).to_have_value("frist")
    editor.fill("first")
    editor.press("Enter")
    expect(member_page.message("first")).to_have_count(1)


def test_messages_stay_unread_from_the_marked_one(both: tuple[RoomPage, RoomPage]) -> None:
    owner_page, member_page = both
    for text in ("one", "two", "three"):
        say(member_page, owner_page, text)

    choose(owner_page, owner_page.message("two"), "Mark as unread from here")

    line = owner_page.page.locator("[data-unread] + .message")
    expect(line.locator("[data-body]")).to_have_text("two")
    expect(owner_page.page.locator(".row[aria-current]").first).to_contain_text("2")
    owner_page.page.reload()
    expect(line.locator("[data-body]")).to_have_text("two")


def test_completed_answer_gets_a_new_version_in_its_place(
    both: tuple[RoomPage, RoomPage],
) -> None:
    owner_page, member_page = both
    member_page.ask("First words")
    first = member_page.ended()
    expect(owner_page.answers).to_have_count(member_page.answers.count())
    say(owner_page, member_page, "later")
    count = member_page.answers.count()

    member_page.answer.hover()
    member_page.answer.get_by_role("button", name="Answer again").click()

    for each in both:
        expect(each.answer.locator("[data-version-words]")).to_have_text("Answer 2 of 2")
        expect(each.answer).to_have_attribute("data-state", "completed")
        assert each.answers.count() == count
        expect(each.messages.last.locator("[data-body]")).to_have_text("later")
    top = owner_page.answer.bounding_box()["y"]  # type: ignore[index]  # it is in the page
    owner_page.answer.get_by_label("Earlier answer").click()
    expect(owner_page.answer.locator("[data-version-words]")).to_have_text("Answer 1 of 2")
    expect(owner_page.answer_text).to_have_text(first)
    assert owner_page.answer.bounding_box()["y"] == top  # type: ignore[index]
    expect(owner_page.answer.locator("[data-votes]")).to_be_hidden()  # those of the last version
    owner_page.answer.get_by_label("Later answer").click()
    expect(owner_page.answer.locator("[data-version-words]")).to_have_text("Answer 2 of 2")
    owner_page.page.reload()
    expect(owner_page.answer.locator("[data-version-words]")).to_have_text("Answer 2 of 2")


def test_vote_is_counted_for_all_and_pressed_for_its_user(both: tuple[RoomPage, RoomPage]) -> None:
    _owner_page, member_page = both
    member_page.ask("What do you think?")
    member_page.ended()
    bad = [each.answer.get_by_role("button", name="Bad answer") for each in both]

    member_page.answer.hover()
    bad[1].click()
    note = member_page.answer.locator("[data-vote-note] input")
    expect(note).to_be_focused()
    note.fill("Too short")
    note.press("Enter")
    expect(member_page.answer.locator("[data-vote-note]")).to_have_count(0)

    expect(bad[0].locator("[data-down]")).to_have_text("1")
    expect(bad[0]).to_have_attribute("aria-pressed", "false")
    expect(bad[1]).to_have_attribute("aria-pressed", "true")
    member_page.page.reload()
    expect(bad[1]).to_have_attribute("aria-pressed", "true")
    member_page.is_live()
    bad[1].click()
    expect(bad[0].locator("[data-down]")).to_have_text("")


def test_all_emoji_are_searched_in_the_language_of_the_page(
    server: Server, room: PopulatedRoom, sign_in: Open
) -> None:
    korean = RoomPage(sign_in(room.members[0], locale="ko-KR"), server.address(room))
    page = korean.page
    korean.write("이모지")
    message = korean.message("이모지")
    expect(message).to_have_count(1)
    picker = page.locator("[data-emoji-picker]")
    search = picker.locator("input[type=search], input[role=combobox]")
    found = picker.locator(".emoji-menu [role=option]")  # not the skin tones

    message.hover()
    message.locator("[data-react]").click()
    message.locator("[data-more-emoji]").click()
    expect(search).to_be_focused()
    search.fill("축하")
    expect(found.first).to_be_visible()
    search.press("ArrowDown")
    search.fill("qqzzqq")
    expect(picker.get_by_role("status")).to_have_text("검색 결과가 없습니다.")
    search.press("Enter")  # there is nothing to choose
    search.fill("축하")
    expect(found.first).to_be_visible()
    search.press("ArrowDown")
    search.press("Enter")

    expect(picker).to_be_hidden()
    pill = message.locator("[data-reactions] button")
    expect(pill).to_have_count(1)
    expect(pill).to_have_attribute("title", re.compile(r"\w"))
    page.locator("[data-emoji-button]").click()
    earlier = found.first.get_attribute("id") if found.count() else None
    search.fill("하트")
    if earlier:
        expect(found.first).not_to_have_attribute("id", earlier)  # the results of this search
    expect(found.first).to_be_visible()
    search.press("ArrowDown")
    search.press("Enter")
    expect(korean.field).not_to_have_value("")


def test_editor_of_the_persona_opens_what_was_sent_from_the_answer(
    both: tuple[RoomPage, RoomPage],
) -> None:
    """The other member may use the persona, and has no such item."""
    owner_page, member_page = both
    owner_page.ask("What do you get?")
    owner_page.ended()
    item = member_page.page.locator("#message-menu").get_by_text("Show what was sent")
    member_page.answer.hover()
    member_page.answer.get_by_role("button", name="More actions for this message").click()
    expect(item).to_be_hidden()

    choose(owner_page, owner_page.answer, "Show what was sent")

    page = owner_page.page
    expect(page).to_have_url(re.compile(r"/runs/[0-9a-f-]{36}/$"))
    expect(page.locator(".run-part").filter(has_text="Question")).to_contain_text(
        "What do you get?"
    )
    page.get_by_role("link", name="Show in the room").click()
    expect(page.locator(".message:target")).to_be_focused()
