"""The page shows a lost connection, keeps unsent messages, and resumes a streaming answer."""

import signal
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.deadlines import DEADLINE
from tests.e2e.conftest import Open
from tests.e2e.page_monitor import PageMonitor
from tests.e2e.room_page import RoomPage
from tests.e2e.server import Server
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
def server(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for these tests alone: they kill and suspend it."""
    folder = tmp_path_factory.mktemp("connection")
    with (
        Installation(folder, MARU_EGRESS_ALLOW=provider.address) as installation,
        Server(installation, provider) as server,
    ):
        yield server


@pytest.fixture
def suspend(server: Server, monitor: PageMonitor) -> Iterator[None]:
    """Allow SIGSTOP of the server; resume it in any case, or it could not be stopped."""
    # A handshake that the page abandons, or that the server resumes too late.
    monitor.expect("WebSocket connection to .* failed")
    yield
    resume(server)


def resume(server: Server) -> None:
    assert server.installation.process is not None
    server.installation.process.send_signal(signal.SIGCONT)


def test_messages_and_answers_survive_a_killed_server(
    server: Server, provider: Provider, sign_in: Open, monitor: PageMonitor
) -> None:
    room = server.populate(1, 2, "held-5")[0]
    author, reader = (RoomPage(sign_in(p), server.address(room)) for p in room.members)
    provider.clear()
    author.ask("Count, please")
    expect(reader.answer_text).to_have_text(FIRST_HALF)
    monitor.expect("WebSocket connection to .* failed")
    monitor.expect("ERR_CONNECTION_REFUSED")

    server.installation.stop(signal.SIGKILL)
    for room_page in (author, reader):
        expect(room_page.line).to_have_text(RECONNECTING)
        expect(room_page.answer_text).to_have_text(FIRST_HALF)
    author.write(NOTE)
    expect(author.page.locator("[data-outgoing]")).to_contain_text(NOTE)
    server.installation.start()

    for room_page in (author, reader):
        room_page.is_live()
        expect(room_page.message(NOTE)).to_have_count(1)
    expect(author.page.locator("[data-outgoing]")).to_be_empty()
    # The interrupted run starts its next attempt, and the note gets an answer as well.
    assert provider.wait(lambda stub: len(stub.requests) == 3, seconds=DEADLINE)
    provider.release()
    for room_page in (author, reader):
        expect(room_page.answers.first).to_have_attribute("data-state", "completed")
        assert room_page.answers.first.locator("[data-body]").inner_text() == WHOLE_ANSWER
    stored = server.installation.request("GET", f"/rooms/{room.id}/messages", room.members[0].token)
    assert [message["text"] for message in stored[1]["items"]].count(NOTE) == 1


def test_offline_page_shows_it_and_resumes_the_answer(
    server: Server, provider: Provider, sign_in: Open, monitor: PageMonitor
) -> None:
    room = server.populate(1, 1, "held-5")[0]
    room_page = RoomPage(sign_in(room.members[0]), server.address(room))
    page = room_page.page
    provider.clear()
    room_page.ask("Count, please")
    expect(room_page.answer_text).to_have_text(FIRST_HALF)
    monitor.expect("ERR_INTERNET_DISCONNECTED")

    # Chromium fires `offline` and keeps the open socket, so the page itself must close it.
    page.context.set_offline(True)
    expect(room_page.line).to_have_text(RECONNECTING)
    room_page.write(NOTE)
    expect(page.locator("[data-outgoing]")).to_contain_text(NOTE)
    provider.release()
    page.context.set_offline(False)

    room_page.is_live()
    expect(room_page.message(NOTE)).to_have_count(1)
    assert provider.wait(lambda stub: len(stub.requests) == 2, seconds=DEADLINE)
    provider.release()
    for answer in (room_page.answers.first, room_page.answers.last):
        expect(answer).to_have_attribute("data-state", "completed")
        expect(answer.locator("[data-body]")).to_have_text(WHOLE_ANSWER)


@pytest.mark.usefixtures("suspend")
def test_page_notices_a_server_that_answers_no_ping(server: Server, sign_in: Open) -> None:
    room = server.populate(1, 1)[0]
    room_page = RoomPage(sign_in(room.members[0]), server.address(room))
    assert server.installation.process is not None

    server.installation.process.send_signal(signal.SIGSTOP)
    expect(room_page.line).to_have_text(RECONNECTING)
    room_page.write(NOTE)
    resume(server)

    room_page.is_live()
    expect(room_page.message(NOTE)).to_have_count(1)


@pytest.mark.usefixtures("suspend")
def test_page_replaces_a_socket_whose_close_does_not_complete(
    server: Server, sign_in: Open
) -> None:
    room = server.populate(1, 1)[0]
    page = sign_in(room.members[0])
    page.add_init_script(RECORD_SOCKETS)
    room_page = RoomPage(page, server.address(room))
    assert server.installation.process is not None

    server.installation.process.send_signal(signal.SIGSTOP)
    page.evaluate("window.sockets[0].close()")
    room_page.write(NOTE)  # `monitor` fails the test if the page sends on the closing socket
    expect(room_page.line).to_have_text(RECONNECTING)
    assert page.evaluate("window.sockets[0].readyState === WebSocket.CLOSING")
    resume(server)

    room_page.is_live()
    expect(room_page.message(NOTE)).to_have_count(1)
