"""Changes of room by click: the page, the socket and the joined rooms stay."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.e2e.conftest import Open
from tests.e2e.page_monitor import PageMonitor
from tests.e2e.room_page import RoomPage
from tests.e2e.server import Server
from tests.live import PopulatedRoom

NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")


@pytest.fixture(scope="module")
def rooms(server: Server) -> dict[str, PopulatedRoom]:
    """Rooms of one user by name, each with a message of another member."""
    (first,) = server.populate(1, 2)
    owner, friend = first.members
    made = {}
    for name in NAMES:
        body = {"name": name}
        room = ask(server, owner.token, "POST", f"/teams/{first.team}/rooms", body)["id"]
        ask(server, owner.token, "PUT", f"/rooms/{room}/members/{friend.user}", {"role": "member"})
        ask(server, friend.token, "POST", f"/rooms/{room}/messages", {"text": f"This is {name}"})
        made[name] = PopulatedRoom(room, first.team, first.members)
    return made


def ask(server: Server, token: str, method: str, path: str, body: Any = None) -> Any:
    status, answer = server.installation.request(method, path, token, body)
    assert status in (200, 201, 204), (status, answer)
    return answer


@pytest.fixture
def page(server: Server, sign_in: Open, rooms: dict[str, PopulatedRoom]) -> Page:
    """The page of `alpha`, which would lose its mark if it were loaded again."""
    page = sign_in(rooms["alpha"].members[0])
    RoomPage(page, server.address(rooms["alpha"]))
    page.evaluate("window.mark = 'not loaded again'")
    return page


def row(page: Page, name: str) -> Locator:
    return page.locator(".sidebar a.row").filter(has_text=name)


def shows(page: Page, name: str) -> None:
    """Wait until the room of this name is shown."""
    expect(page).to_have_title(f"{name} · Maru")
    expect(page.locator("[data-room-name]")).to_have_text(name)
    expect(RoomPage(page).message(f"This is {name}")).to_be_visible()
    expect(row(page, name)).to_have_attribute("aria-current", "page")
    expect(page.locator(".sidebar a.row[aria-current]")).to_have_count(1)


def at_the_server(requests: list[str]) -> list[str]:
    """Return the requests that the browser's cache does not answer: it reads the favicon again."""
    return [url for url in requests if "/static/" not in url]


def is_loaded_once(page: Page) -> bool:
    return bool(page.evaluate("window.mark === 'not loaded again'"))


def test_rooms_and_settings_open_without_loading_the_page(
    server: Server, page: Page, rooms: dict[str, PopulatedRoom]
) -> None:
    room = RoomPage(page)
    room.field.fill("a draft for alpha")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("websocket", lambda socket: requests.append(socket.url))

    row(page, "beta").click()

    shows(page, "beta")
    assert page.url == server.address(rooms["beta"])
    expect(room.field).to_have_value("")
    expect(room.field).to_be_focused()
    room.is_live()
    assert at_the_server(requests) == [server.address(rooms["beta"])]

    page.go_back()
    shows(page, "alpha")
    expect(room.field).to_have_value("a draft for alpha")
    page.go_forward()
    shows(page, "beta")
    assert at_the_server(requests) == [server.address(rooms["beta"])]  # both are kept

    room.write("written in beta")
    expect(room.message("written in beta")).to_be_visible()
    page.locator("[popovertarget=room-menu]").click()
    page.locator("#room-menu a", has_text="Room settings").click()
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    page.locator("input[name=name]").fill("beta!")
    page.go_back()
    shows(page, "beta")
    expect(room.message("written in beta")).to_be_visible()
    assert is_loaded_once(page)

    page.reload()
    shows(page, "beta")
    expect(room.message("written in beta")).to_be_visible()


def test_a_room_that_was_left_is_current_when_it_is_shown_again(
    server: Server, page: Page, rooms: dict[str, PopulatedRoom]
) -> None:
    friend = rooms["alpha"].members[1]
    row(page, "gamma").click()
    shows(page, "gamma")

    path = f"/rooms/{rooms['alpha'].id}/messages"
    ask(server, friend.token, "POST", path, {"text": "while you were away"})
    ask(server, friend.token, "POST", path, {"text": "and again"})

    expect(row(page, "alpha").locator("[data-count-figure]")).to_have_text("2")
    row(page, "alpha").click()
    shows(page, "alpha")
    expect(RoomPage(page).message("and again")).to_be_visible()
    unread = page.locator("[data-unread] + .message")
    expect(unread).to_contain_text("while you were away")
    expect(row(page, "alpha").locator("[data-count]")).to_be_hidden()
    for name in NAMES[1:]:
        row(page, name).click()
        shows(page, name)
    row(page, "alpha").click()  # it was replaced by the others
    shows(page, "alpha")
    assert is_loaded_once(page)


def held(page: Page, pattern: str) -> tuple[list[Route], Callable[[], None]]:
    """Hold the requests of this pattern; return them, and a function that ends holding."""
    routes: list[Route] = []
    page.route(pattern, lambda route: routes.append(route))  # noqa: PLW0108 # needs a signature
    return routes, lambda: page.unroute(pattern)


def test_of_two_quick_clicks_the_last_one_wins(page: Page, rooms: dict[str, PopulatedRoom]) -> None:
    routes, release = held(page, f"**/rooms/{rooms['delta'].id}/")

    row(page, "delta").click()
    while not routes:
        page.wait_for_timeout(20)
    row(page, "epsilon").click()

    shows(page, "epsilon")
    release()
    row(page, "delta").click()
    shows(page, "delta")
    assert is_loaded_once(page)


def test_failed_change_of_room_keeps_the_room_and_says_why(
    server: Server, page: Page, monitor: PageMonitor, rooms: dict[str, PopulatedRoom]
) -> None:
    friend = rooms["alpha"].members[1]
    monitor.expect("ERR_INTERNET_DISCONNECTED")
    page.context.set_offline(True)

    row(page, "zeta").click()

    notice = page.locator("[data-navigation-failed]")
    expect(notice).to_contain_text("the server cannot be reached")
    assert page.url == server.address(rooms["alpha"])
    page.context.set_offline(False)
    notice.get_by_role("link", name="Try again").click()
    shows(page, "zeta")
    expect(notice).to_have_count(0)
    RoomPage(page).is_live()

    body = {"name": "other"}
    other = ask(server, friend.token, "POST", f"/teams/{rooms['alpha'].team}/rooms", body)["id"]
    page.evaluate(
        """(href) => {
          const link = document.createElement("a");
          link.href = href;
          link.textContent = "other";
          document.querySelector(".sidebar-scroll").prepend(link);
        }""",
        f"/rooms/{other}/",
    )
    monitor.expect_status(404, f"/rooms/{other}/")
    page.get_by_role("link", name="other").click()
    expect(notice).to_contain_text("you have no access to it")
    assert page.url == server.address(rooms["zeta"])

    monitor.expect(r"HTTP 503|status of 503")
    page.route(f"**/rooms/{rooms['beta'].id}/", lambda route: route.fulfill(status=503))
    row(page, "beta").click()
    expect(notice).to_contain_text("The server could not open the page.")
    assert is_loaded_once(page)

    page.context.clear_cookies()
    row(page, "gamma").click()
    expect(page).to_have_url(f"{server.url}/accounts/login/?next=/rooms/{rooms['gamma'].id}/")


def test_reader_who_is_removed_during_a_change_sees_no_messages(
    server: Server, sign_in: Open, rooms: dict[str, PopulatedRoom]
) -> None:
    owner, friend = rooms["delta"].members
    page = sign_in(friend)
    RoomPage(page, server.address(rooms["alpha"]))
    routes, release = held(page, f"**/rooms/{rooms['delta'].id}/")
    row(page, "delta").click()
    while not routes:
        page.wait_for_timeout(20)
    answer = routes[0].fetch()  # rendered before the removal

    ask(server, owner.token, "DELETE", f"/rooms/{rooms['delta'].id}/members/{friend.user}")
    routes[0].fulfill(response=answer)
    release()

    expect(page.locator("[data-line]")).to_have_text("You no longer have access to this room.")
    expect(page.locator(".message")).to_have_count(0)
    expect(page.locator("#composer-text")).to_be_hidden()
