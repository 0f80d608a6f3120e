"""The setup of a new installation by the link that the server prints."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Open
from tests.e2e.page_monitor import PageMonitor
from tests.e2e.room_page import RoomPage
from tests.e2e.server import Server
from tests.live import NewInstallation
from tests.provider import Provider

PASSWORD = "floor boards in the sun"


@pytest.fixture(scope="module")
def server(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An installation before its setup."""
    with (
        NewInstallation(tmp_path_factory.mktemp("new")) as installation,
        Server(installation, provider) as server,
    ):
        yield server


def set_up(page: Page, link: str) -> None:
    """Submit the setup form."""
    page.goto(link)
    page.get_by_label("Name", exact=True).fill("Seojun Lee")
    page.get_by_label("Email").fill("seojun@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Team name").fill("Hangyeol Commerce")
    page.get_by_role("button", name="Open Maru").click()


def test_setup_link_works_once_and_leads_to_a_room_that_answers(
    server: Server, open_browser: Open, monitor: PageMonitor
) -> None:
    link = server.installation.setup_link()
    page = open_browser()

    set_up(page, link)
    room = RoomPage(page)
    room.is_live()
    room.follow()
    room.write("What can you do for us?")
    text = room.ended()

    assert "What can you do for us?" in text
    expect(page.locator(".sidebar-team")).to_contain_text("Hangyeol Commerce")
    states, _nodes = room.followed()
    assert len(states) > 1
    assert all(len(later) >= len(earlier) for earlier, later in pairwise(states))

    monitor.expect_status(404, "/setup/")
    second_visitor = open_browser()
    second_visitor.goto(link)
    expect(second_visitor.get_by_role("heading")).to_have_text("This set-up link cannot be used")
