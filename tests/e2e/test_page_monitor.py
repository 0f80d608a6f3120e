"""The page monitor detects each kind of error."""

import pytest

from tests.e2e.conftest import Open
from tests.e2e.page_monitor import PageMonitor
from tests.e2e.server import Server

ERRORS = {
    "console error": "console.error('something is wrong')",
    "page error": "setTimeout(() => { throw new Error('uncaught') })",
    "dialog": "setTimeout(() => alert('hello'))",
    "HTTP 404": "void fetch('/nothing-here')",
    "Content Security Policy": "document.head.append(Object.assign("
    "document.createElement('script'), { textContent: 'document.title = 1' }))",
    "foreign request: http:": "location = 'http://elsewhere.invalid/'",
}


@pytest.mark.parametrize("name", ERRORS)
def test_monitor_detects_each_error_of_a_page(
    server: Server, open_browser: Open, monitor: PageMonitor, name: str
) -> None:
    page = open_browser()
    page.goto(f"{server.url}/accounts/login/")
    assert monitor.unexpected == []

    page.evaluate(ERRORS[name])

    monitor.wait_for_error(page, name)
    monitor.expect("")


def test_monitor_detects_a_connection_to_another_host(
    open_browser: Open, monitor: PageMonitor
) -> None:
    page = open_browser()

    page.evaluate("void new WebSocket('ws://127.0.0.1:9/')")

    monitor.wait_for_error(page, "foreign request: ws:")
    monitor.expect("")


def test_expected_status_does_not_hide_another_error(
    server: Server, open_browser: Open, monitor: PageMonitor
) -> None:
    page = open_browser()
    page.goto(f"{server.url}/accounts/login/")
    monitor.expect_status(404, "/expected")

    page.evaluate("Promise.all([fetch('/expected'), fetch('/not-expected')])")

    monitor.wait_for_error(page, "HTTP 404")
    assert not any("/expected" in error for error in monitor.unexpected)
    monitor.expect("")
