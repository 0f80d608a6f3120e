"""axe on the pages of a team in their open states, in the light and the dark theme."""

import re
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Open
from tests.e2e.room_page import RoomPage
from tests.e2e.server import Server
from tests.e2e.test_sizes import PHONE
from tests.e2e.test_threads import open_thread, reply
from tests.live import PopulatedRoom

# Colours that change slowly have other contrasts until then.
AT_ONCE = """() => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync("* { transition: none !important; }");
  document.adoptedStyleSheets.push(sheet);
}"""
THEMES: dict[str, dict[str, object]] = {
    "light": {},
    "dark": {"runOnly": ["color-contrast"]},  # the rest does not depend on the theme
}


@pytest.fixture(scope="module")
def room(server: Server) -> PopulatedRoom:
    (room,) = server.populate(1, 3, "echo")
    return room


def violations(page: Page) -> list[str]:
    """Return the rules that the page violates in its present state, with the elements."""
    found = []
    page.evaluate(AT_ONCE)
    for theme, options in THEMES.items():
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]  # a Literal
        for each in Axe().run(page, options=options).response["violations"]:
            found += [f"{theme} {each['id']}: {node['html'][:200]}" for node in each["nodes"]]
    page.emulate_media(color_scheme="light")
    return found


def test_open_room_has_no_violations(server: Server, room: PopulatedRoom, sign_in: Open) -> None:
    page = sign_in(room.members[0])
    here = RoomPage(page, server.address(room))
    here.ask("# A title\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n- [ ] task\n\n```python\nx = 1\n```")
    here.ended()
    question = here.messages.first
    picker = page.locator("[data-emoji-picker]")

    def open_menu() -> None:
        question.hover()
        question.get_by_role("button", name="More actions for this message").click()

    def pin() -> None:
        page.locator("#message-menu").get_by_text("Pin", exact=True).click()
        expect(page.locator("[data-panel-pins] a")).to_be_visible()

    def open_picker() -> None:
        page.locator("[data-emoji-button]").click()
        expect(picker.locator("[role=menuitem]").first).to_be_visible()

    def open_card() -> None:
        page.keyboard.press("Escape")
        question.locator(".message-name").click()
        expect(page.get_by_role("dialog").locator("[data-card]")).to_be_visible()

    def follow_up() -> None:
        page.keyboard.press("Escape")
        panel = open_thread(page, "A title")
        reply(panel, "a reply")
        expect(panel.locator(".message[data-state=completed]")).to_have_count(3)

    steps: dict[str, Callable[[], None]] = {
        "answer": here.answer.hover,
        "menu": open_menu,
        "pin": pin,
        "emoji": open_picker,
        "card": open_card,
        "thread": follow_up,
    }
    found = {}
    for name, step in steps.items():
        step()
        found[name] = violations(page)
    assert not any(found.values()), found

    page.locator("#thread [data-follow-button]").evaluate("(button) => button.replaceChildren()")
    assert violations(page) != []


def test_pages_of_a_team_have_no_violations(
    server: Server, room: PopulatedRoom, sign_in: Open
) -> None:
    page = sign_in(room.members[0])
    page.goto(server.address(room))
    persona = page.locator("#panel [data-persona-id]").get_attribute("data-persona-id")
    team = f"{server.url}/teams/{room.team}"

    found = {}
    for address in (
        f"{server.url}/",
        f"{team}/threads/",
        f"{server.address(room)}?on=2020-01-01",
        f"{server.address(room)}settings/",
        f"{team}/personas/{persona}/",
        f"{team}/people/",
        f"{team}/around/personas/{persona}/",
        f"{team}/direct/",
    ):
        page.goto(address)
        found[address] = violations(page)
    page.get_by_role("checkbox").first.check()
    page.get_by_role("button", name="Open the conversation").click()
    expect(page).to_have_url(re.compile("/rooms/"))
    RoomPage(page).is_live()
    found["direct room"] = violations(page)
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]  # a TypedDict
    page.goto(f"{server.url}/")
    page.get_by_role("button", name="Find", exact=True).click()
    found["find"] = violations(page)
    assert not any(found.values()), found
