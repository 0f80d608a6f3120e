"""Connections that are lost and found again, with an answer in the making."""

import signal
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Open
from tests.e2e.conversation import Conversation
from tests.e2e.house import House
from tests.e2e.watch import Watch
from tests.live import PATIENCE, Installation
from tests.provider import Provider

HALF = "t0 t1 t2 t3 t4"
WHOLE = f"{HALF} t5 t6 t7 t8 t9"
NOTE = "Written while nobody could hear it"
RECONNECTING = "Reconnecting. What you write is kept."
# The browser's own "offline" leaves open sockets alone; this lets a test cut them.
CUTTABLE = """
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
    """A house of its own: this one falls down and is built again."""
    folder = tmp_path_factory.mktemp("shaky")
    with Installation(folder, MARU_EGRESS_ALLOW=provider.address) as installation:
        yield House(installation, provider)


def test_server_killed_in_the_middle_loses_nothing_that_was_written_or_answered(
    house: House, provider: Provider, enter: Open, watch: Watch
) -> None:
    room = house.populate(1, 2, "held-5")[0]
    here, there = (Conversation(enter(p), house.address(room)) for p in room.members)
    provider.forget()
    here.ask("Count, please")
    expect(there.answer_text).to_have_text(HALF)
    watch.expect("WebSocket connection to .* failed")
    watch.expect("ERR_CONNECTION_REFUSED")

    house.installation.stop(signal.SIGKILL)
    for conversation in (here, there):
        expect(conversation.line).to_have_text(RECONNECTING)
        expect(conversation.answer_text).to_have_text(HALF)
    here.write(NOTE)
    expect(here.page.locator("[data-outgoing]")).to_contain_text(NOTE)
    house.installation.start()

    for conversation in (here, there):
        conversation.is_live()
        expect(conversation.message(NOTE)).to_have_count(1)
    expect(here.page.locator("[data-outgoing]")).to_be_empty()
    # The question is asked anew, and what was written meanwhile is answered, too.
    assert provider.wait(lambda stub: len(stub.requests) == 3, seconds=PATIENCE)
    provider.release()
    for conversation in (here, there):
        expect(conversation.answers.first).to_have_attribute("data-state", "completed")
        assert conversation.answers.first.locator("[data-body]").inner_text() == WHOLE
    said = house.installation.request("GET", f"/rooms/{room.id}/messages", room.members[0].token)
    assert [message["text"] for message in said[1]["items"]].count(NOTE) == 1


def test_page_that_was_offline_comes_back_with_the_whole_answer(
    house: House, provider: Provider, enter: Open, watch: Watch
) -> None:
    room = house.populate(1, 1, "held-5")[0]
    page = enter(room.members[0])
    page.add_init_script(CUTTABLE)
    here = Conversation(page, house.address(room))
    provider.forget()
    here.ask("Count, please")
    expect(here.answer_text).to_have_text(HALF)
    watch.expect("ERR_INTERNET_DISCONNECTED")

    page.context.set_offline(True)
    page.evaluate("window.sockets.at(-1).close()")
    expect(here.line).to_have_text(RECONNECTING)
    here.write(NOTE)
    provider.release()
    page.context.set_offline(False)

    here.is_live()
    expect(here.message(NOTE)).to_have_count(1)
    assert provider.wait(lambda stub: len(stub.requests) == 2, seconds=PATIENCE)
    provider.release()
    for answer in (here.answers.first, here.answers.last):
        expect(answer).to_have_attribute("data-state", "completed")
        expect(answer.locator("[data-body]")).to_have_text(WHOLE)
