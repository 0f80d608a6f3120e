"""A room as somebody sees it in a browser."""

from playwright.sync_api import Locator, Page, expect

# Remembers each state of the text of the newest answer while it is being made, and whether it was
# one text node that grew.
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
    """What somebody reads and does in a room."""

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
        """Wait until the page is connected: then the panel shows that somebody is here."""
        expect(self.page.locator("#panel .presence[data-state=online]").first).to_be_attached()
        expect(self.page.locator("[data-room_page][data-connection]")).to_have_count(0)

    def write(self, text: str) -> None:
        """Type something and press Enter."""
        self.field.fill(text)
        self.field.press("Enter")

    def ask(self, text: str) -> None:
        """Write something and wait until somebody begins to answer it."""
        before = self.answers.count()
        self.write(text)
        expect(self.answers).to_have_count(before + 1)

    @property
    def answer(self) -> Locator:
        """The newest answer."""
        return self.answers.last

    @property
    def answer_text(self) -> Locator:
        return self.answer.locator("[data-body]")

    def message(self, text: str) -> Locator:
        """Messages of people that say exactly this."""
        body = self.page.locator("[data-body]").get_by_text(text, exact=True)
        return self.page.locator(".message[data-author=user]").filter(has=body)

    def ended(self, state: str = "completed") -> str:
        """Wait until the newest answer has ended so; return what it says."""
        expect(self.answer).to_have_attribute("data-state", state)
        return self.answer_text.inner_text()

    def follow(self) -> None:
        """Begin to remember how the next answer grows."""
        self.page.locator("[data-timeline]").evaluate(FOLLOW)

    def followed(self) -> tuple[list[str], list[str]]:
        """Return the states that the answer went through, and the nodes that it was made of."""
        seen = self.page.evaluate(FOLLOWED)
        return seen["states"], seen["nodes"]
