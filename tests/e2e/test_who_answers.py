"""Who answers, on the page: the composer's line, muted personas, and answers between personas."""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Open
from tests.e2e.room_page import RoomPage
from tests.e2e.server import Server
from tests.live import PopulatedRoom

PHONE = {"width": 390, "height": 844}


@pytest.fixture
def room(server: Server) -> PopulatedRoom:
    """A room with two personas that repeat what they are told."""
    return server.populate(1, 2, "echo", "echo-prompt")[0]


def change(server: Server, room: PopulatedRoom, path: str = "", **fields: Any) -> Any:
    method = "PUT" if path else "PATCH"
    token = room.members[0].token
    status, body = server.installation.request(method, f"/rooms/{room.id}{path}", token, fields)
    assert status < 300
    return body


def post(server: Server, room: PopulatedRoom, message: dict[str, Any]) -> None:
    token = room.members[1].token
    path = f"/rooms/{room.id}/messages"
    assert server.installation.request("POST", path, token, message)[0] == 201


def persona_ids(server: Server, room: PopulatedRoom) -> dict[str, str]:
    token = room.members[0].token
    _status, found = server.installation.request("GET", f"/teams/{room.team}/personas", token)
    return {persona["handle"]: persona["id"] for persona in found["items"]}


def test_line_follows_the_text_and_the_room_and_keeps_its_height(
    server: Server, room: PopulatedRoom, sign_in: Open
) -> None:
    room_page = RoomPage(sign_in(room.members[1], viewport=PHONE), server.address(room))
    line = room_page.page.locator("[data-answers-opener]")
    bar = room_page.page.locator(".composer-bar")
    height = bar.evaluate("bar => bar.offsetHeight")
    personas = server.installation.request(
        "GET", f"/teams/{room.team}/personas", room.members[0].token
    )[1]
    ids = {persona["handle"]: persona["id"] for persona in personas["items"]}

    def says(words: str) -> None:
        expect(line).to_have_text(words)
        assert bar.evaluate("bar => bar.offsetHeight") == height

    requests: list[str] = []
    room_page.page.on("websocket", lambda _socket: requests.append("socket"))
    room_page.page.on("request", lambda request: requests.append(request.url))
    says("echo will answer: answers here by default")
    room_page.field.press_sequentially("@echo-prompt님, 어때요?")
    says("echo-prompt will answer: mentioned")
    room_page.field.fill("`@echo-prompt`")
    says("echo will answer: answers here by default")
    assert not [url for url in requests if "/api/" in url]
    change(server, room, default_persona=ids["echo-prompt"])
    says("echo-prompt will answer: answers here by default")
    change(server, room, f"/personas/{ids['echo-prompt']}", muted=True)
    says("Nobody will answer: no persona answers here by default")
    change(server, room, answer_policy="mention")
    says("Nobody will answer: only when a persona is named")


def test_moderator_continues_where_a_limit_has_stopped_the_personas(
    server: Server, room: PopulatedRoom, sign_in: Open
) -> None:
    change(server, room, persona_turns=1)
    owner, member = (RoomPage(sign_in(person), server.address(room)) for person in room.members)

    question = {
        "text": "Ask @echo-prompt and @echo",
        "personas": [persona_ids(server, room)["echo"]],
    }
    post(server, room, question)
    stopped = member.answers.nth(1)  # echo-prompt repeats the question, which mentions echo
    line = stopped.locator("[data-capped]")
    expect(line).to_have_text("The personas stopped here: the limit is 1 answer.Continue")
    expect(line.get_by_role("button")).to_have_count(0)  # hidden: a member cannot continue
    expect(stopped.locator("[data-figures]")).to_contain_text("because it was mentioned")
    owner.answers.nth(1).get_by_role("button", name="Continue").click()

    expect(line).to_be_hidden()
    expect(member.answers).to_have_count(4)
    expect(member.answers.nth(3).locator("[data-capped]")).to_be_visible()
