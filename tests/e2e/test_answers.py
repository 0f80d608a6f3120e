"""Answers in the page: streaming, reload, stop, failure and retry."""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Open
from tests.e2e.room_page import RoomPage
from tests.e2e.server import Server
from tests.live import PopulatedRoom
from tests.provider import Provider

HALF = "t0 t1 t2 t3 t4"
WHOLE = f"{HALF} t5 t6 t7 t8 t9"

REFUSED = "The model provider refused the key of this connection. Ask a team admin to check it."


@pytest.fixture(scope="module")
def room(server: Server) -> PopulatedRoom:
    models = ("held-5", "fault-401-once")
    return server.populate(1, 2, *models)[0]


@pytest.fixture
def both(server: Server, room: PopulatedRoom, sign_in: Open) -> tuple[RoomPage, RoomPage]:
    """The room's page of its owner and of another member."""
    owner, member = (sign_in(person) for person in room.members)
    return RoomPage(owner, server.address(room)), RoomPage(member, server.address(room))


def ask(one: RoomPage, other: RoomPage, text: str) -> None:
    """Ask on one page and wait until both pages show the answer."""
    one.ask(text)
    expect(other.answers).to_have_count(one.answers.count())


def test_reload_during_an_answer_loses_and_duplicates_nothing(
    both: tuple[RoomPage, RoomPage], provider: Provider
) -> None:
    owner_page, member_page = both
    ask(owner_page, member_page, "Count, please")
    for room_page in both:
        expect(room_page.answer_text).to_have_text(HALF)

    owner_page.page.reload()
    expect(owner_page.answer_text).to_have_text(HALF)
    owner_page.is_live()
    provider.release()

    assert [owner_page.ended(), member_page.ended()] == [WHOLE, WHOLE]


def test_stopped_answer_keeps_its_text_and_can_be_answered_again(
    both: tuple[RoomPage, RoomPage], provider: Provider
) -> None:
    owner_page, member_page = both
    ask(member_page, owner_page, "Count, please")
    for room_page in both:
        expect(room_page.answer_text).to_have_text(HALF)

    member_page.answer.get_by_role("button", name="Stop").click()

    assert [owner_page.ended("stopped"), member_page.ended("stopped")] == [HALF, HALF]
    for room_page in both:
        expect(room_page.answer.get_by_text("Stopped by Hayun")).to_be_visible()

    stopped = member_page.answers.count()
    member_page.answer.get_by_role("button", name="Answer again").click()
    for room_page in both:
        expect(room_page.answers).to_have_count(stopped + 1)
        expect(room_page.answer_text).to_have_text(HALF)
    provider.release()
    assert [owner_page.ended(), member_page.ended()] == [WHOLE, WHOLE]


def test_failed_answer_shows_one_sentence_and_a_retry_button(
    both: tuple[RoomPage, RoomPage],
) -> None:
    owner_page, member_page = both
    ask(member_page, owner_page, "@fault-401-once are you there?")

    member_page.ended("failed")
    owner_page.ended("failed")

    for room_page in both:
        words = room_page.answer.locator("[data-end]")
        expect(words).to_have_text(REFUSED)
    member_page.answer.get_by_role("button", name="Retry").click()
    assert [member_page.ended(), owner_page.ended()] == ["fine now", "fine now"]


def test_concurrent_answers_have_separate_stop_buttons(
    server: Server, sign_in: Open, provider: Provider
) -> None:
    (room,) = server.populate(1, 1, "held-3", "held-5", "held-7")
    room_page = RoomPage(sign_in(room.members[0]), server.address(room))
    halves = {f"held-{n}": " ".join(f"t{k}" for k in range(n)) for n in (3, 5, 7)}

    room_page.write("@held-3 @held-5 @held-7 Count, please")
    answers = {name: room_page.answers.filter(has_text=name) for name in halves}
    for name, half in halves.items():
        expect(answers[name].locator("[data-body]")).to_have_text(half)
    answers["held-5"].get_by_role("button", name="Stop").click()
    expect(answers["held-5"]).to_have_attribute("data-state", "stopped")
    expect(room_page.page.get_by_role("button", name="Stop")).to_have_count(2)
    provider.release()

    expect(answers["held-5"].locator("[data-body]")).to_have_text(halves["held-5"])
    for name, half in (("held-3", "t3 t4 t5"), ("held-7", "t7 t8 t9 t10 t11 t12 t13")):
        expect(answers[name]).to_have_attribute("data-state", "completed")
        expect(answers[name].locator("[data-body]")).to_have_text(f"{halves[name]} {half}")


def test_two_tabs_stream_two_rooms_separately(
    server: Server, provider: Provider, sign_in: Open
) -> None:
    rooms = server.populate(2, 1, "canary-held@20")
    person = rooms[0].members[0]
    path = f"/rooms/{rooms[1].id}/members/{person.user}"
    owner = rooms[1].members[0].token
    assert server.installation.request("PUT", path, owner, {"role": "member"})[0] == 200
    first = sign_in(person)
    second = first.context.new_page()
    received = [frames_of(page) for page in (first, second)]
    tabs = [
        RoomPage(first, server.address(rooms[0])),
        RoomPage(second, server.address(rooms[1])),
    ]

    for number, tab in enumerate(tabs):
        tab.write(f"CANARY-{number}")
    # The first tab is hidden: it has no animation frames, and shows the text when it ends.
    expect(tabs[1].answer_text).to_contain_text("CANARY-1:9")
    models = [each.model for each in provider.requests[-2:]]
    assert models == ["canary-held@20"] * 2  # both answers wait for the release
    provider.release()
    for number, tab in enumerate(tabs):
        assert tab.ended() == " ".join(f"CANARY-{number}:{n}" for n in range(40))

    for number, tab in enumerate(tabs):
        other = f"CANARY-{1 - number}"
        assert any(f"CANARY-{number}:3" in frame for frame in received[number])
        assert not any(other in frame for frame in received[number])
        assert other not in tab.page.locator("body").inner_text()


def frames_of(page: Page) -> list[str]:
    """Return a list that collects the frames that the page receives."""
    frames: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda f: frames.append(str(f))))
    return frames
