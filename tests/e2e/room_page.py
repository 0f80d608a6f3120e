"""The page of a room: actions and locators for the tests."""

from playwright.sync_api import Locator, Page, expect

# Records each state of the newest answer's text while it streams, and the nodes of its blocks.
FOLLOW = """
(timeline) => {
  window.followed = { states: [], nodes: new Set() };
  new MutationObserver(() => {
    const body = [...timeline.querySelectorAll("[aria-busy] [data-body]")].at(-1);
    const text = body?.textContent;
    if (!text || text === window.followed.states.at(-1)) return;
    window.followed.states.push(text);
    for (const node of body.childNodes) window.followed.nodes.add(node);
  }).observe(timeline, { subtree: true, childList: true, characterData: true });
}
"""
FOLLOWED = """
() => ({
  states: window.followed.states,
  nodes: [...window.followed.nodes].map((node) => node.nodeName),
})
"""


class RoomPage:
    """Actions and locators of an open room."""

    def __init__(self, page: Page, address: str = "") -> None:
        self.page = page
        self.field = page.locator("#composer-text")
        self.messages = page.locator(".message")
        self.answers = page.locator(".message[data-author=persona]")
        self.line = page.locator("[data-line]")
        if address:
            page.goto(address)
            self.is_live()

    def is_live(self) -> None:
        """Wait until the page is connected: the panel then shows a member as online."""
        expect(self.page.locator("#panel .presence[data-state=online]").first).to_be_attached()
        expect(self.page.locator("[data-conversation][data-connection]")).to_have_count(0)

    def write(self, text: str) -> None:
        """Type the text and press Enter."""
        self.field.fill(text)
        self.field.press("Enter")

    def ask(self, text: str) -> None:
        """Send a message and wait until an answer starts.

        The page removes messages that are far from the view, so their number tells nothing.
        """
        before = self.answer.get_attribute("id") if self.answers.count() else None
        self.write(text)
        if before is None:
            expect(self.answers).to_have_count(1)
        else:
            expect(self.answer).not_to_have_attribute("id", before)

    @property
    def answer(self) -> Locator:
        """The newest answer."""
        return self.answers.last

    @property
    def answer_text(self) -> Locator:
        return self.answer.locator("[data-body]")

    def message(self, text: str) -> Locator:
        """The messages of users with exactly this text."""
        body = self.page.locator("[data-body]").get_by_text(text, exact=True)
        return self.page.locator(".message[data-author=user]").filter(has=body)

    def ended(self, state: str = "completed") -> str:
        """Wait until the newest answer has this state; return its text."""
        expect(self.answer).to_have_attribute("data-state", state)
        return self.answer_text.inner_text()

    def follow(self) -> None:
        """Start recording the next answer."""
        self.page.locator("[data-timeline]").evaluate(FOLLOW)

    def followed(self) -> tuple[list[str], list[str]]:
        """Return the recorded states of the answer's text and the names of its blocks."""
        seen = self.page.evaluate(FOLLOWED)
        return seen["states"], seen["nodes"]
