"""The watch itself: what it must see, it sees."""

import pytest

from tests.e2e.conftest import Open
from tests.e2e.house import House
from tests.e2e.watch import Watch

TROUBLES = {
    "console error": "console.error('something is wrong')",
    "page error": "setTimeout(() => { throw new Error('nobody caught this') })",
    "dialog": "setTimeout(() => alert('hello'))",
    "HTTP 404": "void fetch('/nothing-here')",
    "Content Security Policy": "document.head.append(Object.assign("
    "document.createElement('script'), { textContent: 'document.title = 1' }))",
    "foreign request: http:": "location = 'http://elsewhere.invalid/'",
}


@pytest.mark.parametrize("name", TROUBLES)
def test_watch_sees_each_trouble_in_a_page(
    house: House, open_browser: Open, watch: Watch, name: str
) -> None:
    page = open_browser()
    page.goto(f"{house.url}/accounts/login/")
    assert watch.unexpected == []

    page.evaluate(TROUBLES[name])

    watch.until_it_sees(page, name)
    watch.expect("")


def test_watch_sees_a_socket_that_leads_elsewhere(open_browser: Open, watch: Watch) -> None:
    page = open_browser()

    page.evaluate("void new WebSocket('ws://127.0.0.1:9/')")

    watch.until_it_sees(page, "foreign request: ws:")
    watch.expect("")


def test_expected_status_does_not_hide_another(
    house: House, open_browser: Open, watch: Watch
) -> None:
    page = open_browser()
    page.goto(f"{house.url}/accounts/login/")
    watch.expect_status(404, "/expected")

    page.evaluate("Promise.all([fetch('/expected'), fetch('/not-expected')])")

    watch.until_it_sees(page, "HTTP 404")
    assert not any("/expected" in trouble for trouble in watch.unexpected)
    watch.expect("")
