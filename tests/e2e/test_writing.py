"""Using the composer by keyboard, in Latin letters and in Hangul."""

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Open
from tests.e2e.room_page import RoomPage
from tests.e2e.server import Server
from tests.live import PopulatedRoom
from tests.provider import Provider

FOCUSED = "document.activeElement"


@pytest.fixture(scope="module")
def room(server: Server) -> PopulatedRoom:
    return server.populate(1, 2, "echo", "held-5")[0]


@pytest.fixture
def room_page(server: Server, room: PopulatedRoom, sign_in: Open) -> RoomPage:
    return RoomPage(sign_in(room.members[0]), server.address(room))


def test_enter_sends_and_shift_enter_breaks_the_line(
    room_page: RoomPage,
) -> None:
    keys = room_page.page.keyboard
    keys.press("Tab")
    assert room_page.page.evaluate(f"{FOCUSED}.textContent") == "Skip to writing"
    keys.press("Enter")
    expect(room_page.field).to_be_focused()

    keys.type("One line")
    keys.press("Shift+Enter")
    keys.type("and another")
    expect(room_page.field).to_have_value("One line\nand another")
    keys.press("Enter")

    expect(room_page.field).to_have_value("")
    expect(room_page.field).to_be_focused()
    mine = room_page.page.locator(".message[data-author=user] [data-body]").last
    expect(mine).to_have_text("One line\nand another", use_inner_text=True)


def test_typing_outside_a_field_writes_in_the_composer(room_page: RoomPage) -> None:
    room_page.page.keyboard.press("Space")
    assert room_page.page.evaluate(f"{FOCUSED} === document.body")

    room_page.page.keyboard.type("Hello")

    expect(room_page.field).to_be_focused()
    expect(room_page.field).to_have_value("Hello")
    room_page.field.fill("")


def test_mention_picker_is_used_by_keyboard(
    room_page: RoomPage,
) -> None:
    keys = room_page.page.keyboard
    options = room_page.page.get_by_role("option")
    room_page.field.focus()

    keys.type("Ask @")
    expect(options).to_have_count(3)
    expect(options.nth(0)).to_have_attribute("aria-selected", "true")
    keys.press("ArrowDown")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    keys.press("Enter")
    expect(room_page.field).to_have_value("Ask @held-5 ")
    expect(options).to_have_count(0)

    keys.type("and @ec")
    expect(options).to_have_count(1)
    keys.press("Escape")
    expect(options).to_have_count(0)
    expect(room_page.field).to_have_value("Ask @held-5 and @ec")
    room_page.field.fill("")


def test_stop_button_is_reached_by_tab(room_page: RoomPage, provider: Provider) -> None:
    room_page.ask("@held-5 count, please")
    expect(room_page.answer_text).to_have_text("t0 t1 t2 t3 t4")

    for _ in range(20):
        room_page.page.keyboard.press("Shift+Tab")
        if room_page.page.evaluate(f"{FOCUSED}.matches('[data-stop]')"):
            break
    label = room_page.page.evaluate(f"{FOCUSED}.ariaLabel")
    room_page.page.keyboard.press("Enter")

    assert label == "Stop held-5's answer"
    assert room_page.ended("stopped") == "t0 t1 t2 t3 t4"


def test_enter_that_ends_a_hangul_syllable_does_not_send(room_page: RoomPage) -> None:
    before = room_page.messages.count()
    room_page.page.evaluate(
        "addEventListener('keydown', (event) => window.composing = event.isComposing, true)"
    )
    input_method = room_page.page.context.new_cdp_session(room_page.page)
    room_page.field.focus()

    syllable = {"text": "마루", "selectionStart": 2, "selectionEnd": 2}
    input_method.send("Input.imeSetComposition", syllable)
    room_page.page.keyboard.press("Enter")
    assert room_page.page.evaluate("window.composing") is True
    input_method.send("Input.insertText", {"text": "마루"})

    expect(room_page.messages).to_have_count(before)
    assert room_page.field.input_value().startswith("마루")
    room_page.page.keyboard.press("Enter")
    assert room_page.page.evaluate("window.composing") is False
    expect(room_page.field).to_have_value("")
    expect(room_page.messages).to_have_count(before + 2)


def test_line_of_the_composer_names_the_personas_that_the_message_asks(
    room_page: RoomPage,
) -> None:
    names = room_page.page.locator("b[data-answers]")
    why = room_page.page.locator("[data-answers-why]")
    bar = room_page.page.locator(".composer-bar")
    height = bar.evaluate("bar => bar.offsetHeight")
    chips = room_page.page.locator(".message[data-author=user]").last.locator(".mention")
    usual = names.inner_text()
    room_page.page.get_by_role("button", name="will answer").click()
    room_page.page.get_by_role("menuitemradio", name="No persona").click()
    expect(names).to_have_text("Nobody")
    room_page.page.get_by_role("button", name="will answer").click()
    room_page.page.get_by_role("menuitemradio", name="Room default").click()
    expect(names).to_have_text(usual)

    for text, named in [
        ("`@held-5` and \\\\@held-5", "held-5"),
        ("> @held-5", usual),
        ("**@held-5(봇)**에게 [@echo](https://a.example)", "held-5"),
        ("```\n@held-5\n```", usual),
        ("@ｅｃｈｏ에게서는 @held-5입니다", "echo, held-5"),
    ]:
        room_page.field.fill(text)
        expect(names).to_have_text(named)
        expect(why).to_have_text("answers here by default" if named == usual else "mentioned")
        assert bar.evaluate("bar => bar.offsetHeight") == height
    room_page.field.fill("**@echo(봇)**에게 `@held-5`")
    expect(names).to_have_text("echo")
    room_page.ask("**@echo(봇)**에게 `@held-5`")

    expect(chips).to_have_text(["@echo"])
    strong = room_page.page.locator(".message[data-author=user]").last.locator("strong")
    expect(strong).to_have_text("@echo(봇)")
    expect(names).to_have_text(usual)
    assert room_page.ended()
