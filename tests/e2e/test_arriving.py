"""From the link of an invitation to an answered question, on a computer and on a phone."""

from dataclasses import dataclass

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import DESKTOP, Open
from tests.e2e.room_page import RoomPage
from tests.e2e.server import Server
from tests.e2e.test_sizes import PHONE, too_wide_elements
from tests.live import PopulatedRoom

MOST_FIELDS = MOST_CLICKS = 4


@dataclass
class Hands:
    """A user who counts the fields and the clicks."""

    page: Page
    fields: int = 0
    clicks: int = 0

    def fill(self, label: str, text: str) -> None:
        self.page.get_by_label(label).fill(text)
        self.fields += 1

    def click(self, button: Locator) -> None:
        button.click()
        self.clicks += 1


@pytest.fixture(scope="module")
def room(server: Server) -> PopulatedRoom:
    """A room for everyone who joins its team."""
    (room,) = server.populate(1, 2, "echo")
    status, _room = server.installation.request(
        "PATCH",
        f"/rooms/{room.id}",
        room.members[0].token,
        {"privacy": "team", "for_everyone": True},
    )
    assert status == 200
    return room


def link_to(server: Server, room: PopulatedRoom) -> str:
    status, invitation = server.installation.request(
        "POST", f"/teams/{room.team}/invitations", room.members[0].token, {}
    )
    assert status == 201
    return str(invitation["url"])


def join(hands: Hands, link: str, name: str) -> RoomPage:
    """Create an account by the link and accept the invitation."""
    page = hands.page
    page.goto(link)
    hands.click(page.get_by_role("link", name="Create an account"))
    hands.fill("Name", name)
    hands.fill("Email", f"{name.split(maxsplit=1)[0].lower()}@new.example.com")
    hands.fill("Password", "persimmons on the sill")
    hands.click(page.get_by_role("button", name="Create the account"))
    hands.click(page.get_by_role("button", name=f"Join as {name}"))
    return RoomPage(page)


@pytest.mark.parametrize(
    ("viewport", "name"), [(DESKTOP, "Hayun Kim"), (PHONE, "Jiwoo Park")], ids=["1440", "390"]
)
def test_new_member_asks_a_question_within_four_fields_and_four_clicks(
    server: Server,
    room: PopulatedRoom,
    sign_in: Open,
    open_browser: Open,
    viewport: dict[str, int],
    name: str,
) -> None:
    other = RoomPage(sign_in(room.members[1]), server.address(room))
    hands = Hands(open_browser(viewport=viewport))
    page = hands.page

    arrived = join(hands, link_to(server, room), name)
    arrived.is_live()
    welcome = page.locator("[data-welcome]")
    expect(welcome).to_contain_text(f"Welcome, {name}.")
    assert too_wide_elements(page) == []
    focused = arrived.field.evaluate("(field) => field === document.activeElement")
    assert focused == (viewport is DESKTOP)
    hands.click(welcome.get_by_role("link", name="What can you help me with?"))
    expect(arrived.field).to_have_value("What can you help me with?")
    expect(arrived.messages).to_have_count(0 if viewport is DESKTOP else 2)
    answered = arrived.answers.count()
    page.keyboard.press("Enter")
    expect(arrived.answers).to_have_count(answered + 1)

    assert "What can you help me with?" in arrived.ended()
    assert hands.fields <= MOST_FIELDS
    assert hands.clicks <= MOST_CLICKS
    expect(welcome).to_have_count(0)
    page.reload()
    expect(welcome).to_have_count(0)
    expect(other.page.locator("[data-welcome]")).to_have_count(0)
    assert other.ended()


def test_dismissed_welcome_stays_away(
    server: Server, room: PopulatedRoom, open_browser: Open
) -> None:
    hands = Hands(open_browser())
    join(hands, link_to(server, room), "Elena Rossi").is_live()
    page = hands.page

    with page.expect_response(lambda answer: answer.url.endswith("/welcome/")):
        page.get_by_role("button", name="Dismiss the welcome").click()

    expect(page.locator("[data-welcome]")).to_have_count(0)
    page.reload()
    expect(page.locator("[data-welcome]")).to_have_count(0)
