"""Markup in messages, answers and names stays text and runs no script.

One page bypasses the content security policy: there, only the rendering protects.
"""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Open
from tests.e2e.page_monitor import PageMonitor
from tests.e2e.room_page import RoomPage
from tests.e2e.server import Server
from tests.live import PopulatedRoom
from tests.provider import Provider

MARKUP = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "<svg onload=alert(3)></svg>",
    "<svg><script>alert(4)</script></svg>",
    "<iframe srcdoc='<script>parent.alert(5)</script>'></iframe>",
    "<a href='javascript:alert(6)'>press</a>",
    "<details open ontoggle=alert(7)>press</details>",
    "<video><source onerror=alert(8) src=x></video>",
    "<input autofocus onfocus=alert(9)>",
    "<form action='javascript:alert(10)'><button>press</button></form>",
    "</textarea></title></script><img src=x onerror=alert(11)>",
    "<img src=http://elsewhere.invalid/a.png>",
    "<style>@import 'http://elsewhere.invalid/b.css';</style>",
    "<link rel=stylesheet href=http://elsewhere.invalid/c.css>",
]
MARKDOWN = [
    "[press](javascript:alert(12))",
    "[press](data:text/html,<script>alert(13)</script>)",
    "![picture](http://elsewhere.invalid/d.png)",
    '![picture](x "onerror=alert(14)")',
    '```html"><img src=x onerror=alert(15)>\npress\n```',
    "&lt;img src=x onerror=alert(16)&gt; &#60;script&#62;alert(17)&#60;/script&#62;",
]
FOREIGN = "script, img, svg:not(.icon), iframe, form, input, style, link"
AUTHOR = "[person"
"""The begin of the line that stands above each message in the prompt."""

BLOCKS = {"#text", "P", "UL", "OL", "DIV", "BLOCKQUOTE", "HR", "H3"}
SCHEMES = "(links) => links.map((link) => new URL(link.href).protocol)"


@pytest.fixture(scope="module")
def room(server: Server) -> PopulatedRoom:
    return server.populate(1, 2, "echo-held")[0]


@pytest.fixture
def pages(room: PopulatedRoom, sign_in: Open) -> tuple[Page, Page]:
    """The pages of two members: one without the policy, one with it."""
    return sign_in(room.members[0], bypass_csp=True), sign_in(room.members[1])


@pytest.mark.parametrize("text", MARKUP)
def test_detector_notices_raw_markup(open_browser: Open, monitor: PageMonitor, text: str) -> None:
    page = open_browser()

    page.set_content(f"<title></title>{text}")
    for pressed in page.get_by_text("press").all():
        pressed.click()

    monitor.wait_for_error(page, "dialog" if "alert" in text else "foreign request")
    monitor.expect("")


def test_messages_and_answers_stay_text(
    server: Server, provider: Provider, room: PopulatedRoom, pages: tuple[Page, Page]
) -> None:
    one, other = (RoomPage(page, server.address(room)) for page in pages)
    one.follow()

    for text in [*MARKUP, *MARKDOWN]:
        one.ask(text)
        for room_page in (one, other):
            # The element of a queued answer has another id.
            expect(room_page.answer).to_have_attribute("data-state", "streaming")
            identity = one.answer.get_attribute("id")
            expect(room_page.answer).to_have_attribute("id", str(identity))
            expect(room_page.answer_text).to_contain_text(AUTHOR if text in MARKDOWN else text)
            has_only_markup(room_page)
        provider.release()
        assert one.ended().endswith("end")
        other.ended()
        assert text in one.answer_text.inner_text() or text in MARKDOWN
        for room_page in (one, other):
            has_only_markup(room_page)
    _states, nodes = one.followed()
    assert set(nodes) <= BLOCKS

    for room_page in (one, other):
        room_page.page.reload()
        room_page.is_live()
        has_only_markup(room_page)


def has_only_markup(room_page: RoomPage) -> None:
    """Assert that the messages that the page shows have neither foreign elements nor addresses."""
    bodies = room_page.page.locator("[data-body]")
    assert bodies.locator(FOREIGN).count() == 0
    schemes = bodies.locator("a").evaluate_all(SCHEMES)
    assert set(schemes) <= {"http:", "https:", "mailto:"}


def test_names_of_rooms_personas_and_users_stay_text(
    server: Server, provider: Provider, room: PopulatedRoom, pages: tuple[Page, Page]
) -> None:
    one, other = (RoomPage(page, server.address(room)) for page in pages)
    image, script = MARKUP[1], MARKUP[0]
    owner = room.members[0].token
    persona = one.page.locator("#panel [data-persona-id]").get_attribute("data-persona-id")

    for path, changes in (
        (f"/rooms/{room.id}", {"name": image, "topic": script}),
        ("/me", {"name": image}),
    ):
        status, body = server.installation.request("PATCH", path, owner, changes)
        assert status == 200, body
    one.page.goto(f"{server.url}/teams/{room.team}/personas/{persona}/")
    one.page.get_by_label("Name").fill(image)
    one.page.get_by_label("Role").fill(script)
    one.page.get_by_role("button", name="Save as").click()
    expect(one.page.get_by_role("heading", name=image)).to_be_visible()
    one.page.goto(server.address(room))
    for room_page in (one, other):
        expect(room_page.page.locator("[data-room-name]")).to_have_text(image)
        room_page.ask("Who are you?")
        expect(room_page.answer_text).to_contain_text("Who are you?")
        provider.release()
        room_page.ended()
        room_page.field.fill("@")
        expect(room_page.page.get_by_role("option").first).to_contain_text(image)

    for path in (
        f"/rooms/{room.id}/",
        f"/rooms/{room.id}/settings/",
        "/",
        f"/teams/{room.team}/personas/",
        f"/teams/{room.team}/personas/{persona}/",
        f"/teams/{room.team}/people/",
        "/me/",
    ):
        one.page.goto(server.url + path)
        expect(
            one.page.get_by_text(image).or_(one.page.locator(f"[value='{image}']")).first
        ).to_be_attached()
