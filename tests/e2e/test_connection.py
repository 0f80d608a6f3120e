"""The page notices a lost connection, says so, keeps what is written, and resumes an answer."""

import signal
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.deadlines import DEADLINE
from tests.e2e.conftest import Open
from tests.e2e.conversation import Conversation
from tests.e2e.house import House
from tests.e2e.watch import Watch
from tests.live import Installation
from tests.provider import Provider

FIRST_HALF = "t0 t1 t2 t3 t4"
WHOLE_ANSWER = f"{FIRST_HALF} t5 t6 t7 t8 t9"
NOTE = "Written without a connection"
RECONNECTING = "Reconnecting. What you write is kept."
# Keeps the page's sockets, so that a test can begin a close handshake.
RECORD_SOCKETS = """
window.sockets = [];
window.WebSocket = class extends WebSocket {
  constructor(...details) {
    super(...details);
    window.sockets.push(this);
  }
};
"""


@pytest.fixture(scope="module")
def house(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server for these tests alone: they kill and suspend it."""
    folder = tmp_path_factory.mktemp("connection")
    with Installation(folder, MARU_EGRESS_ALLOW=provider.address) as installation:
        yield House(installation, provider)


@pytest.fixture
def suspend(house: House, watch: Watch) -> Iterator[None]:
    """Allow SIGSTOP of the server; resume it in any case, or it could not be stopped."""
    # A handshake that the page abandons, or that the server resumes too late.
    watch.expect("WebSocket connection to .* failed")
    yield
    resume(house)


def resume(house: House) -> None:
    assert house.installation.process is not None
    house.installation.process.send_signal(signal.SIGCONT)


def test_messages_and_answers_survive_a_killed_server(
    house: House, provider: Provider, enter: Open, watch: Watch
) -> None:
    room = house.populate(1, 2, "held-5")[0]
    author, reader = (Conversation(enter(p), house.address(room)) for p in room.members)
    provider.clear()
    author.ask("Count, please")
    expect(reader.answer_text).to_have_text(FIRST_HALF)
    watch.expect("WebSocket connection to .* failed")
    watch.expect("ERR_CONNECTION_REFUSED")

    house.installation.stop(signal.SIGKILL)
    for conversation in (author, reader):
        expect(conversation.line).to_have_text(RECONNECTING)
        expect(conversation.answer_text).to_have_text(FIRST_HALF)
    author.write(NOTE)
    expect(author.page.locator("[data-outgoing]")).to_contain_text(NOTE)
    house.installation.start()

    for conversation in (author, reader):
        conversation.is_live()
        expect(conversation.message(NOTE)).to_have_count(1)
    expect(author.page.locator("[data-outgoing]")).to_be_empty()
    # The interrupted run starts its next attempt, and the note gets an answer as well.
    assert provider.wait(lambda stub: len(stub.requests) == 3, seconds=DEADLINE)
    provider.release()
    for conversation in (author, reader):
        expect(conversation.answers.first).to_have_attribute("data-state", "completed")
        assert conversation.answers.first.locator("[data-body]").inner_text() == WHOLE_ANSWER
    said = house.installation.request("GET", f"/rooms/{room.id}/messages", room.members[0].token)
    assert [message["text"] for message in said[1]["items"]].count(NOTE) == 1


def test_offline_page_says_so_and_resumes_the_answer(
    house: House, provider: Provider, enter: Open, watch: Watch
) -> None:
    room = house.populate(1, 1, "held-5")[0]
    conversation = Conversation(enter(room.members[0]), house.address(room))
    page = conversation.page
    provider.clear()
    conversation.ask("Count, please")
    expect(conversation.answer_text).to_have_text(FIRST_HALF)
    watch.expect("ERR_INTERNET_DISCONNECTED")

    # Chromium fires `offline` and leaves the open socket alone: the page itself must give it up.
    page.context.set_offline(True)
    expect(conversation.line).to_have_text(RECONNECTING)
    conversation.write(NOTE)
    expect(page.locator("[data-outgoing]")).to_contain_text(NOTE)
    provider.release()
    page.context.set_offline(False)

    conversation.is_live()
    expect(conversation.message(NOTE)).to_have_count(1)
    assert provider.wait(lambda stub: len(stub.requests) == 2, seconds=DEADLINE)
    provider.release()
    for answer in (conversation.answers.first, conversation.answers.last):
        expect(answer).to_have_attribute("data-state", "completed")
        expect(answer.locator("[data-body]")).to_have_text(WHOLE_ANSWER)


@pytest.mark.usefixtures("suspend")
def test_page_notices_a_server_that_answers_no_ping(house: House, enter: Open) -> None:
    room = house.populate(1, 1)[0]
    conversation = Conversation(enter(room.members[0]), house.address(room))
    assert house.installation.process is not None

    house.installation.process.send_signal(signal.SIGSTOP)
    expect(conversation.line).to_have_text(RECONNECTING)
    conversation.write(NOTE)
    resume(house)

    conversation.is_live()
    expect(conversation.message(NOTE)).to_have_count(1)


@pytest.mark.usefixtures("suspend")
def test_page_replaces_a_socket_whose_close_does_not_complete(house: House, enter: Open) -> None:
    room = house.populate(1, 1)[0]
    page = enter(room.members[0])
    page.add_init_script(RECORD_SOCKETS)
    conversation = Conversation(page, house.address(room))
    assert house.installation.process is not None

    house.installation.process.send_signal(signal.SIGSTOP)
    page.evaluate("window.sockets[0].close()")
    conversation.write(NOTE)  # `watch` fails the test if the page sends on the closing socket
    expect(conversation.line).to_have_text(RECONNECTING)
    assert page.evaluate("window.sockets[0].readyState === WebSocket.CLOSING")
    resume(house)

    conversation.is_live()
    expect(conversation.message(NOTE)).to_have_count(1)
