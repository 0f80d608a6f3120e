"""Personas that act, seen by the asker, a moderator and an onlooker of one room."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, WebSocketRoute, expect

from tests.e2e.conftest import Open
from tests.e2e.room_page import RoomPage
from tests.e2e.server import Server
from tests.e2e.test_accessibility import violations
from tests.e2e.test_sizes import PHONE, too_wide_elements
from tests.live import PopulatedRoom
from tests.provider import Provider

CANARY = "271828"
ASK = f'Please.\nTEXT Let me see.\nUSE calculator {{"expression": "{CANARY} + 1"}}\nTEXT Done.'
HELD = "Please.\nUSE clock {}\nHOLD\nTEXT Half.\nUSE clock {}\nTEXT Done."
QUESTION = (
    'Please.\nUSE ask_people {"question": "Which one?", "choices": ["The first", "The second"]}'
)

RECORD_WORDS = """(place) => { window.words = []; new MutationObserver(() => words.push(
  place.textContent)).observe(place, { childList: true, characterData: true, subtree: true }); }"""


def give_tools(server: Server, room: PopulatedRoom) -> None:
    """Let the personas of the room use our own tools, the calculator only after a decision."""
    owner = room.members[0].token
    request = server.installation.request
    tools = request("GET", f"/teams/{room.team}/tools", owner)[1]["items"]
    policies = {"calculator": "ask", "clock": "always", "ask_people": "always"}
    chosen = [
        {"tool": tool["id"], "policy": policies[tool["name"]]}
        for tool in tools
        if tool["name"] in policies
    ]
    personas = [
        each["id"] for each in request("GET", f"/teams/{room.team}/personas", owner)[1]["items"]
    ]
    for persona in personas:
        status, found = request("PUT", f"/personas/{persona}/tools", owner, {"tools": chosen})
        assert status == 200, found


@pytest.fixture(scope="module")
def room(server: Server) -> PopulatedRoom:
    room = server.populate(1, 3, "tools")[0]
    give_tools(server, room)
    return room


@dataclass
class Three:
    """The page of the room of its owner, of the member who asks, and of another member."""

    moderator: RoomPage
    asker: RoomPage
    onlooker: RoomPage

    def __iter__(self) -> Iterator[RoomPage]:
        return iter((self.moderator, self.asker, self.onlooker))

    def ask(self, text: str, state: str) -> None:
        """Ask, and wait until all pages show an answer in this state."""
        self.asker.ask(text)
        # A queued run has the place of its answer, with another id.
        expect(self.asker.answer).to_have_attribute("data-state", state)
        answer = self.asker.answer.get_attribute("id")
        for each in self:
            expect(each.answer).to_have_attribute("id", answer or "")
            expect(each.answer).to_have_attribute("data-state", state)


@pytest.fixture
def three(server: Server, room: PopulatedRoom, sign_in: Open) -> Three:
    pages = [RoomPage(sign_in(person), server.address(room)) for person in room.members]
    return Three(*pages)


def card(room_page: RoomPage) -> Locator:
    return room_page.answer.locator("[data-ask]")


def press(room_page: RoomPage, name: str) -> None:
    """Press a button of the card when it has stood still for long enough."""
    expect(card(room_page)).to_have_attribute("data-mine", "")
    room_page.page.wait_for_timeout(600)  # the product's own pause; nothing tells its end
    card(room_page).get_by_role("button", name=name, exact=True).click()


def test_decider_allows_and_onlooker_sees_no_arguments(three: Three) -> None:
    three.ask(ASK, "waiting")

    for each in (three.moderator, three.asker):
        expect(each.answer.locator("[data-work]")).to_have_text("Waiting for you")
        expect(card(each)).to_contain_text(f"expression{CANARY} + 1")
        link = each.page.get_by_role("link", name="1 decision waits")
        expect(link).to_be_visible()
    expect(three.onlooker.answer.locator("[data-work]")).to_have_text("Waiting for a decision")
    expect(card(three.onlooker).get_by_role("button")).to_have_count(0)
    expect(card(three.onlooker).locator("[data-note]")).to_contain_text("shown to them only")
    assert f"{CANARY} + 1" not in card(three.onlooker).inner_html()

    work = three.onlooker.answer.locator("[data-work]")
    work.evaluate(RECORD_WORDS)
    press(three.asker, "Allow once")
    three.asker.page.mouse.move(0, 0)  # a card that has ended keeps its height for the pointer

    expect(card(three.asker)).not_to_have_attribute("style", re.compile("min-height"))
    for each in three:
        each.ended()
        expect(each.answer_text.locator("p")).to_have_text(["Let me see.", "Done."])
        expect(card(each)).to_contain_text("Calculator, allowed once by Hayun")
        expect(each.answer.locator(".step")).to_contain_text("Calculator")
        expect(each.page.get_by_role("link", name=re.compile("decision waits"))).to_have_count(0)
    expect(three.onlooker.page.locator("[data-spoken]")).to_contain_text("tools answered")
    assert "Waiting for another answer" not in three.onlooker.page.evaluate("window.words")


def test_step_opens_for_who_may_see_it_and_then_for_the_room(three: Three) -> None:
    three.ask(ASK, "waiting")
    press(three.moderator, "Allow once")
    for each in three:
        each.ended()
    opener = three.asker.answer.get_by_role("button", name="Calculator")
    expect(three.onlooker.answer.locator(".step")).to_have_count(1)
    expect(three.onlooker.answer.locator("[data-open-step]")).to_have_count(0)

    opener.click()
    details = three.asker.answer.locator("[data-details]")
    expect(details).to_contain_text(re.compile(rf"Allowed by Minjae.*{CANARY} \+ 1"))
    expect(details).to_contain_text(str(int(CANARY) + 1))
    expect(opener).to_have_attribute("aria-expanded", "true")
    details.get_by_role("button", name="Show the result to the room").click()

    theirs = three.onlooker.answer.get_by_role("button", name="Calculator")
    theirs.click()
    shown = three.onlooker.answer.locator("[data-details]")
    expect(shown).to_contain_text(str(int(CANARY) + 1))
    expect(shown).not_to_contain_text(f"{CANARY} + 1")
    three.onlooker.page.reload()
    expect(three.onlooker.answer.get_by_role("button", name="Calculator")).to_be_visible()


def test_calls_appear_in_the_language_of_each_reader(
    server: Server, room: PopulatedRoom, sign_in: Open
) -> None:
    english = RoomPage(sign_in(room.members[0]), server.address(room))
    korean = RoomPage(sign_in(room.members[1], locale="ko-KR"), server.address(room))
    korean.ask(ASK)

    expect(card(korean)).to_contain_text("계산기")
    press(english, "Allow once")
    for each, title in ((english, "Calculator"), (korean, "계산기")):
        each.ended()
        expect(each.answer.locator(".step [data-words]")).to_have_text(title)


def test_decider_denies_with_a_word(three: Three) -> None:
    three.ask(ASK, "waiting")
    page = three.asker.page
    press(three.asker, "Deny with a word")
    field_of_word = card(three.asker).get_by_role("textbox")
    expect(field_of_word).to_be_focused()
    page.keyboard.press("Escape")
    expect(field_of_word).to_be_hidden()
    expect(card(three.asker).get_by_role("button", name="Deny with a word")).to_be_focused()

    press(three.asker, "Deny with a word")
    field_of_word.fill("Not today")
    page.wait_for_timeout(600)  # as in `press`
    field_of_word.press("Enter")

    for each in three:
        expect(card(each)).to_contain_text("Calculator, denied by Hayun")
        each.ended()
        expect(each.answer.locator(".step[data-state=denied]")).to_contain_text("denied")


def test_card_ignores_presses_until_it_stands_still(three: Three) -> None:
    page = three.asker.page
    page.evaluate(
        """() => new MutationObserver(() => {
          const button = document.querySelector("[data-mine] [value=allow]");
          if (button && !window.pressed) window.pressed = (button.click(), true);
        }).observe(document.body, { subtree: true, childList: true, attributes: true })"""
    )
    three.ask(ASK, "waiting")
    page.wait_for_function("window.pressed")
    expect(card(three.asker)).to_have_attribute("data-mine", "")
    for key in ("Enter", "Space", "a", "y"):
        card(three.asker).press(key)  # no key decides while the card has the focus
    expect(card(three.asker).get_by_role("button", name="Allow once")).to_be_visible()

    three.moderator.answer.get_by_role("button", name="Stop").click()

    for each in three:
        each.ended("stopped")
        expect(card(each)).to_contain_text("no longer needed: the answer was stopped")


def test_link_in_the_header_focuses_the_card_and_no_button(three: Three) -> None:
    three.ask(ASK, "waiting")
    page = three.moderator.page

    page.get_by_role("link", name="1 decision waits").click()

    expect(card(three.moderator)).to_be_focused()
    expect(page.locator("[data-panel-waiting]")).to_contain_text("Calculator")
    page.locator(".sidebar .row[data-room-id] [data-hand]").wait_for()
    three.asker.answer.get_by_role("button", name="Stop").click()
    three.asker.ended("stopped")
    expect(page.locator(".sidebar .row[data-room-id] [data-hand]")).to_have_count(0)


def test_arguments_show_what_would_reorder_them(
    server: Server, room: PopulatedRoom, sign_in: Open
) -> None:
    asker = RoomPage(sign_in(room.members[1]), server.address(room))
    asker.ask('Please.\nUSE calculator {"expression": "1 + \u202e2\ufe0f"}')
    shown = card(asker).locator("dd, [data-json]")

    expect(shown).to_have_text([r"1 + \u202e2\ufe0f", re.compile(r"1 \+ \\u202e2\\ufe0f")])
    asker.page.reload()
    expect(shown).to_have_text([r"1 + \u202e2\ufe0f", re.compile(r"1 \+ \\u202e2\\ufe0f")])

    asker.is_live()
    asker.answer.get_by_role("button", name="Stop").click()
    asker.ended("stopped")


@dataclass
class HeldSocket:
    """Holds back what the server sends to a page from a frame of a type on, but for responses."""

    type: str
    held: list[str] = field(default_factory=list)
    send: Callable[[str], None] = print

    def route(self, socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        self.send = socket.send

        def forward(frame: str | bytes) -> None:
            text = frame if isinstance(frame, str) else frame.decode()
            kind = json.loads(text).get("type", "")
            is_due = bool(self.held) or kind == self.type
            if is_due and not kind.startswith("command."):
                self.held.append(text)
            else:
                socket.send(text)

        server.on_message(forward)


def test_second_decider_reads_who_was_first(
    server: Server, room: PopulatedRoom, sign_in: Open
) -> None:
    page = sign_in(room.members[0])
    socket = HeldSocket("approval.decided")
    page.route_web_socket(re.compile("/ws/"), socket.route)
    late = RoomPage(page, server.address(room))
    asker = RoomPage(sign_in(room.members[1]), server.address(room))
    asker.ask(ASK)
    press(asker, "Allow once")
    asker.ended()

    press(late, "Allow once")
    expect(card(late).get_by_role("button", name="Allow once")).to_be_enabled()
    for frame in socket.held:
        socket.send(frame)

    expect(card(late)).to_contain_text("Hayun allowed it first. Your decision was not used.")


def test_question_is_answered_by_who_is_asked(three: Three) -> None:
    three.ask(QUESTION, "waiting")
    expect(card(three.asker)).to_contain_text("asks you")
    expect(card(three.asker)).to_contain_text("Which one?")
    expect(card(three.onlooker)).to_contain_text("asks Hayun")
    expect(card(three.onlooker).get_by_role("button")).to_have_count(0)

    press(three.asker, "The second")

    for each in three:
        expect(card(each)).to_contain_text("Hayun: “The second”")
        each.ended()
    assert "The second" in three.asker.answer_text.inner_text()


def test_moderator_closes_a_question(three: Three) -> None:
    three.ask(QUESTION, "waiting")
    expect(card(three.onlooker).get_by_role("button")).to_have_count(0)
    buttons = card(three.moderator).get_by_role("button")
    expect(buttons).to_have_text(["Close the question"])
    three.moderator.page.wait_for_timeout(600)  # as in `press`

    buttons.click()

    for each in three:
        each.ended()
        expect(card(each)).to_have_attribute("data-state", "answered")
        expect(card(each).get_by_role("button")).to_have_count(0)


def test_member_steers_a_running_answer(three: Three, provider: Provider) -> None:
    three.ask(HELD, "thinking")
    expect(three.onlooker.answer.locator(".step")).to_have_count(1)
    three.onlooker.answer.hover()
    three.onlooker.answer.get_by_role("button", name="Steer tools's answer").click()
    steers = three.onlooker.page.locator("#composer").get_by_text("Steers tools")
    expect(steers).to_be_visible()
    three.onlooker.write("shorter, please")

    for each in three:
        line = each.answer.locator(".steering")
        expect(line).to_contain_text("“shorter, please” taken in at the next step")
    expect(steers).to_be_hidden()
    provider.release()

    for each in three:
        each.ended()
        expect(each.answer.locator(".steering")).to_contain_text("applied after step")


def test_card_without_scripts_has_the_same_buttons(
    server: Server, room: PopulatedRoom, sign_in: Open
) -> None:
    asker = RoomPage(sign_in(room.members[1]), server.address(room))
    asker.ask(ASK)
    expect(asker.answer).to_have_attribute("data-state", "waiting")
    page = sign_in(room.members[0], java_script_enabled=False)
    page.goto(server.address(room))
    found = page.locator("[data-ask][data-mine]")
    expect(found).to_contain_text(f"{CANARY} + 1")

    found.get_by_role("textbox").fill("Not today")
    found.get_by_role("button", name="Deny with a word").click()

    expect(page.locator("[data-ask]")).to_have_count(0)
    asker.ended()
    expect(card(asker)).to_contain_text("Calculator, denied by")


def open_waiting(server: Server, sign_in: Open, **options: Any) -> tuple[Page, RoomPage]:
    """Return the page of a decider with a card and a question, in a room of its own."""
    room = server.populate(1, 2, "tools")[0]
    give_tools(server, room)
    page = sign_in(room.members[1], **options)
    here = RoomPage(page, server.address(room))
    here.ask(QUESTION)
    expect(here.answer).to_have_attribute("data-state", "waiting")
    here.ask(ASK)
    expect(card(here)).to_have_attribute("data-mine", "")
    return page, here


def test_waiting_room_has_no_violations(server: Server, sign_in: Open) -> None:
    page, here = open_waiting(server, sign_in)
    found = {"cards": violations(page)}
    card(here).locator("summary").click()
    press(here, "Deny with a word")
    found["denying"] = violations(page)
    page.set_viewport_size({"width": 768, "height": 900})
    page.locator("[data-room-name]").evaluate("(name) => (name.textContent = 'W'.repeat(80))")
    found["long name"] = too_wide_elements(page)
    page.goto(server.url)
    found["home"] = violations(page)

    assert not any(found.values()), found


def test_cards_fit_a_phone_with_targets_for_fingers(server: Server, sign_in: Open) -> None:
    page, here = open_waiting(server, sign_in, viewport=PHONE, has_touch=True, is_mobile=True)

    assert too_wide_elements(page) == []
    for buttons in (card(here).get_by_role("button"), page.locator("[name=choice]")):
        places = [button.bounding_box() for button in buttons.all()]
        assert min(place["height"] for place in places if place) >= 44, places
    assert len({place["x"] for place in places if place}) == 1, places  # below each other
    page.goto(server.url)
    places = [button.bounding_box() for button in page.locator(".home-acts .button").all()]
    assert min(place["height"] for place in places if place) >= 44, places
