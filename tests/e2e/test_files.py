"""The files of a page: how many, how large, and how many the browser asks for again."""

import re

import pytest
from playwright.sync_api import Page, Response, WebSocket

from tests.e2e.conftest import Open
from tests.e2e.room_page import RoomPage
from tests.e2e.server import Server
from tests.live import PopulatedRoom

MOST_REQUESTS = 30
MOST_CODE_BYTES = 350_000
MOST_AGAIN = 4
BUNDLE = re.compile(r"/bundles/([\w.]+)\.[0-9a-f]{12}\.\w+$")
# Files that the server has sent: the browser's cache transfers nothing.
TRANSFERRED = """() => performance.getEntriesByType("resource")
  .filter((entry) => entry.transferSize > 0).map((entry) => entry.name)"""


@pytest.fixture(scope="module")
def room(server: Server) -> PopulatedRoom:
    (room,) = server.populate(1, 2)
    return room


def test_first_load_has_few_files_and_the_next_asks_for_almost_none(
    server: Server, sign_in: Open, room: PopulatedRoom
) -> None:
    page: Page = sign_in(room.members[0])
    responses: list[Response] = []
    sockets: list[WebSocket] = []
    page.on("response", lambda response: responses.append(response))  # noqa: PLW0108 # a function
    page.on("websocket", lambda socket: sockets.append(socket))  # noqa: PLW0108 # as above

    RoomPage(page, server.address(room))

    code = [each for each in responses if each.request.resource_type in {"script", "stylesheet"}]
    size = sum(len(each.body()) for each in code)
    assert len(responses) + len(sockets) <= MOST_REQUESTS
    assert size <= MOST_CODE_BYTES, size
    # The other bundles are for what this room does not have.
    bundles = {match[1] for each in code if (match := BUNDLE.search(each.url))}
    assert bundles == {"maru", "words.en"}
    for each in responses:
        if "/static/" in each.url:
            assert each.headers["cache-control"] == "max-age=315360000, public, immutable"
        if "/bundles/" in each.url:
            assert each.headers["content-encoding"] == "gzip"

    page.goto(f"{server.url}/")
    RoomPage(page, server.address(room))

    assert len(page.evaluate(TRANSFERRED)) + 2 <= MOST_AGAIN  # and the page, and its socket
