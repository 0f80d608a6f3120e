"""English and Korean pages, in both themes."""

import re

import pytest
from playwright.sync_api import Page

from tests.e2e.conftest import Open
from tests.e2e.room_page import RoomPage
from tests.e2e.server import Server
from tests.live import PopulatedRoom

# Words that are the same in Korean, and names of this installation.
ALLOWED = {
    *("AI", "API", "Ctrl", "Enter", "K", "Maru", "OpenAI", "v"),
    *("Demo", "Garam", "Guide", "Hayun", "Minjae", "demo", "room"),
}
ADDRESS = re.compile(r"\S*(@|\w[./]\w)\S*")
PAGES = (
    "/",
    "/rooms/{room}/settings/",
    "/teams/{team}/",
    "/teams/{team}/rooms/new/",
    "/teams/{team}/people/",
    "/teams/{team}/connections/",
    "/teams/{team}/connections/new/",
    "/teams/{team}/personas/",
    "/teams/{team}/personas/new/",
    "/me/",
    "/me/tokens/",
    "/accounts/email/",
)
# Text that a user typed or that the server generated is not translated.
OTHERS = "[data-body], [data-role], [lang]:not(html), bdi, code, option, .mark, .sidebar-team"
VISIBLE = """
(others) => {
  const words = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (element.closest(others) || !element.checkVisibility()) continue;
    words.push(walker.currentNode.data);
  }
  for (const element of document.querySelectorAll("[aria-label], [placeholder], [title]")) {
    if (element.closest(others) || !element.checkVisibility()) continue;
    words.push(element.ariaLabel ?? "", element.placeholder ?? "", element.title ?? "");
  }
  return words;
}
"""


@pytest.fixture(scope="module")
def room(server: Server) -> PopulatedRoom:
    return server.populate(1, 2)[0]


def latin_words(page: Page) -> set[str]:
    """Return the Latin words of the page that are not on the list."""
    words = ADDRESS.sub("", " ".join(page.evaluate(VISIBLE, OTHERS)))
    return set(re.findall(r"[A-Za-z]+", words)) - ALLOWED


def test_word_check_finds_english_words(server: Server, room: PopulatedRoom, sign_in: Open) -> None:
    page = sign_in(room.members[0])

    page.goto(server.address(room))

    assert {"Answers", "Mention", "Personas", "Rooms", "Send", "Write"} <= latin_words(page)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_korean_pages_have_no_english_words(
    server: Server, room: PopulatedRoom, sign_in: Open, theme: str
) -> None:
    page = sign_in(room.members[0], locale="ko-KR", color_scheme=theme)
    room_page = RoomPage(page, server.address(room))
    room_page.ask("안녕하세요")
    room_page.ended()
    found = {"room": latin_words(page)}

    for path in PAGES:
        page.goto(server.url + path.format(team=room.team, room=room.id))
        found[path] = latin_words(page)

    assert {path: words for path, words in found.items() if words} == {}
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert ground == {"light": "rgb(252, 250, 246)", "dark": "rgb(30, 27, 24)"}[theme]
