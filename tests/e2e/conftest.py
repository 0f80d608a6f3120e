"""Fixtures: Chromium, the server, and the monitor of all pages."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    BrowserType,
    Page,
    Playwright,
    expect,
    sync_playwright,
)

from tests import chromium
from tests.deadlines import DEADLINE
from tests.e2e.page_monitor import PageMonitor
from tests.e2e.server import Server
from tests.live import Installation, Person
from tests.mcp.hostile import Hostile, run_hostile
from tests.mcp.oauth import Protected, run_protected
from tests.provider import Provider, running

DEADLINE_MS = 1_000 * DEADLINE
DESKTOP = {"width": 1440, "height": 900}

Open = Callable[..., Page]


# Playwright runs an event loop in this thread while it is open, and no asynchronous test can start
# in it: the scope is this package, not the session.


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    expect.set_options(timeout=DEADLINE_MS)
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="package")
def browser_type(playwright: Playwright) -> BrowserType:
    return playwright.chromium


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    if not chromium.is_installed():
        pytest.skip(f"Debian's package {chromium.PACKAGE} is not installed.")
    return {**browser_type_launch_args, **chromium.launch_options()}


@pytest.fixture(scope="package")
def browser(
    browser_type: BrowserType, browser_type_launch_args: dict[str, Any]
) -> Iterator[Browser]:
    started = browser_type.launch(**browser_type_launch_args)
    yield started
    started.close()


@pytest.fixture(scope="package")
def provider() -> Iterator[Provider]:
    with running() as started:
        yield started


@pytest.fixture(scope="package")
def mcp_server() -> Iterator[Hostile]:
    """An MCP server that lists the tools which a test gives it."""
    with run_hostile() as started:
        yield started


@pytest.fixture(scope="package")
def protected() -> Iterator[Protected]:
    """An MCP server that asks for a sign-in."""
    with run_protected() as started:
        yield started


@pytest.fixture(scope="package")
def server(
    provider: Provider,
    mcp_server: Hostile,
    protected: Protected,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """The server of most tests; each test creates its own team."""
    folder = tmp_path_factory.mktemp("server")
    allowed = ",".join(each.address for each in (provider, mcp_server, protected))
    with (
        Installation(folder, MARU_EGRESS_ALLOW=allowed) as installation,
        Server(installation, provider) as server,
    ):
        yield server


@pytest.fixture
def monitor(server: Server) -> Iterator[PageMonitor]:
    """Fail the test if a page had an unexpected error."""
    monitor = PageMonitor(server.url)
    yield monitor
    assert monitor.unexpected == []


@pytest.fixture(scope="package")
def browser_context_args() -> dict[str, Any]:
    """Options of all browser contexts. The plugin's fixture needs a session-scoped Playwright."""
    return {"timezone_id": "Asia/Seoul"}


@pytest.fixture
def open_browser(new_context: Callable[..., BrowserContext], monitor: PageMonitor) -> Open:
    """Open a page in a new browser context without cookies."""

    def open_one(**options: Any) -> Page:
        context = new_context(**{"locale": "en-US", "viewport": DESKTOP, **options})
        context.set_default_timeout(DEADLINE_MS)
        monitor.observe(context)
        return context.new_page()

    return open_one


@pytest.fixture
def sign_in(server: Server, open_browser: Open) -> Open:
    """Open a page in a new browser context with a session of the user."""

    def open_as(person: Person, **options: Any) -> Page:
        page = open_browser(**options)
        key = server.keys[person.user]
        page.context.add_cookies([{"name": "maru_session", "value": key, "url": server.url}])
        return page

    return open_as
