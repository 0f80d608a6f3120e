"""Several personas that answer one question in turn."""

import re

from playwright.sync_api import expect

from tests.e2e.conftest import Open
from tests.e2e.room_page import RoomPage
from tests.e2e.server import Server
from tests.provider import Provider


def test_personas_answer_in_turn(server: Server, sign_in: Open, provider: Provider) -> None:
    (room,) = server.populate(1, 2, "held-3", "held-5", "echo")
    asker, other = (RoomPage(sign_in(each), server.address(room)) for each in room.members)
    asker.field.fill("@held-3 @held-5 @echo Count, please")
    turn = asker.page.get_by_role("button", name="In turn", exact=True)
    turn.click()
    expect(turn).to_have_attribute("aria-pressed", "true")
    asker.field.press("Enter")

    strips = [each.messages.first.locator(".round") for each in (asker, other)]
    for strip in strips:
        expect(strip.locator(".round-step")).to_have_text(
            [re.compile("held-3Answering"), re.compile("held-5Next"), re.compile("echoLater")]
        )
    expect(asker.answer_text).to_have_text("t0 t1 t2")  # the provider waits
    provider.release()
    for strip in strips:
        expect(strip.locator(".round-step").nth(0)).to_contain_text("Done")
        expect(strip.locator(".round-step").nth(1)).to_contain_text("Answering")
    strips[0].get_by_role("button", name="Stop all").click()
    for strip in strips:
        expect(strip.locator(".round-step").nth(2)).to_contain_text("Stopped")
        expect(strip.get_by_role("button", name="Stop all")).to_be_hidden()
    other.page.reload()
    expect(strips[1].locator(".round-step").nth(0)).to_contain_text("Done")
