"""The page of a room in Chromium: its loads, changes of room, a long history, four answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any, Final

from playwright.sync_api import Page, Playwright, sync_playwright

from tests.bench.pages import streams
from tests.bench.report.figures import Figure
from tests.bench.resources import Resources
from tests.chromium import is_installed, launch_options
from tests.e2e.conftest import DESKTOP
from tests.e2e.long_room import fill
from tests.e2e.server import Server
from tests.live import PopulatedRoom
from tests.provider import Provider

ROOMS: Final = 12
"""More than the page keeps open, so that most changes of room ask the server."""
MESSAGES: Final = 100_000

# Counts elements and long tasks, and times the handlers of frames.
WATCH: Final = """
(() => {
  window.most = 0; window.longest = 0; window.handlers = []; window.lcp = 0;
  const count = () => {
    window.most = Math.max(window.most, document.getElementsByTagName("*").length);
    requestAnimationFrame(count);
  };
  addEventListener("load", () => requestAnimationFrame(count));
  new PerformanceObserver((list) => {
    window.longest = Math.max(window.longest, ...list.getEntries().map((task) => task.duration));
  }).observe({ type: "longtask" });
  new PerformanceObserver((list) => { window.lcp = list.getEntries().at(-1).startTime; })
    .observe({ type: "largest-contentful-paint", buffered: true });
  const add = WebSocket.prototype.addEventListener;
  WebSocket.prototype.addEventListener = function (type, listener) {
    add.call(this, type, type !== "message" ? listener : (event) => {
      const began = performance.now();
      listener(event);
      if (event.data.includes('"message.created"')) window.handlers.push(performance.now() - began);
    });
  };
})();
"""
# Clicks the rows in turn; returns the milliseconds until each room shows its newest message.
CHANGE: Final = """
async (count) => {
  const times = [];
  for (let n = 0; n < count; n += 1) {
    const rows = [...document.querySelectorAll(".sidebar a.row[data-room-id]")];
    const row = rows[(n + 1) % rows.length];
    const began = performance.now();
    row.click();
    const isShown = () => location.href === row.href && document.querySelector(".message");
    while (!isShown()) await new Promise(requestAnimationFrame);
    times.push(performance.now() - began);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return times;
}
"""
UP: Final = """
async (steps) => {
  const box = document.querySelector("[data-scroll]");
  for (let n = 0; n < steps; n += 1) {
    box.scrollTop -= 600;
    await new Promise((resolve) => setTimeout(resolve, 8));
  }
}
"""
AGAIN: Final = """() => performance.getEntriesByType("resource")
  .filter((entry) => entry.transferSize > 0).length + 2"""


def measure(resources: Resources) -> list[Figure]:
    """Measure with an embedded server: the database and the browser share the machine."""
    if not is_installed():
        return [Figure("page in Chromium", None, "", note="Chromium is not installed")]
    allowed = {"MARU_EGRESS_ALLOW": resources.provider_address}
    provider = Provider(port=int(resources.provider_address.rpartition(":")[2]))
    with (
        resources.installation("browser", **allowed) as installation,
        Server(installation, provider) as server,
        sync_playwright() as playwright,
        _page(playwright, WATCH) as page,
    ):
        rooms = _rooms(server, MESSAGES // 20 if resources.quick else MESSAGES)
        key = server.keys[rooms[0].members[0].user]
        page.context.add_cookies([{"name": "maru_session", "value": key, "url": server.url}])
        figures = [
            *_loads(page, server, rooms[0]),
            *_changes(page, 30 if resources.quick else 200),
            *_history(page, server, rooms[0], quick=resources.quick),
        ]
        page.close()
        with _page(playwright, streams.WATCH) as reader:
            return figures + streams.measure_streams(reader, server, quick=resources.quick)


@contextmanager
def _page(playwright: Playwright, watch: str) -> Iterator[Page]:
    """Open a page of a new browser that runs the script `watch` before all others."""
    browser = playwright.chromium.launch(**launch_options())
    page = browser.new_page(viewport=DESKTOP)  # type: ignore[arg-type]  # a dict of this shape
    page.add_init_script(watch)
    yield page
    browser.close()


def _rooms(server: Server, messages: int) -> list[PopulatedRoom]:
    """Return rooms of one user; the first has `messages` messages, the others 50."""
    (first,) = server.populate(1, 2)
    rooms = [first]
    owner, friend = first.members
    for number in range(1, ROOMS):
        path = f"/teams/{first.team}/rooms"
        _status, room = server.installation.request(
            "POST", path, owner.token, {"name": f"r{number}"}
        )
        member = f"/rooms/{room['id']}/members/{friend.user}"
        server.installation.request("PUT", member, owner.token, {"role": "member"})
        rooms.append(PopulatedRoom(room["id"], first.team, first.members))
    for each in rooms:
        fill(server.installation, each, messages if each is first else 50)
    return rooms


def _loads(page: Page, server: Server, room: PopulatedRoom) -> list[Figure]:
    responses: list[Any] = []
    page.on("response", lambda response: responses.append(response))  # noqa: PLW0108 # a function
    page.goto(server.address(room), wait_until="networkidle")
    code = [each for each in responses if each.request.resource_type in {"script", "stylesheet"}]
    first = len(responses) + 1  # and the socket
    size = sum(len(each.body()) for each in code) / 1024
    lcp = page.evaluate("window.lcp")
    page.goto(f"{server.url}/", wait_until="networkidle")
    page.goto(server.address(room), wait_until="networkidle")
    return [
        Figure("first load of a room", first, "requests", 30),
        Figure("first load, scripts and styles", size, "KB", 350),
        Figure("first load, largest contentful paint", lcp, "ms", 600),
        Figure("next load, requests to the server", page.evaluate(AGAIN), "requests", 4),
    ]


def _changes(page: Page, count: int) -> list[Figure]:
    page.evaluate("window.mark = true")
    times = sorted(page.evaluate(CHANGE, count))
    return [
        Figure("change of room by click, p50", median(times), "ms", 100),
        Figure("change of room by click, p99", times[int(len(times) * 0.99)], "ms", 250),
        Figure("change of room, page loads", 0 if page.evaluate("window.mark") else 1, "loads", 0),
    ]


def _history(page: Page, server: Server, room: PopulatedRoom, *, quick: bool) -> list[Figure]:
    page.goto(server.address(room), wait_until="networkidle")
    page.evaluate("window.longest = 0")
    page.evaluate(UP, 200 if quick else 3_000)
    page.evaluate("document.querySelector('#jump-date').value = '2025-01-01'")
    page.evaluate("document.querySelector('[data-jump-date]').requestSubmit()")
    page.get_by_text("Message 1", exact=True).wait_for()
    page.locator("[data-newer]").click()
    longest = page.evaluate("window.longest")
    for number in range(20):
        path = f"/rooms/{room.id}/messages"
        body = {"text": f"incoming {number}", "personas": []}
        server.installation.request("POST", path, room.members[1].token, body)
    page.locator(".message").filter(has_text="incoming 19").wait_for()
    return [
        Figure("long room, most elements", page.evaluate("window.most"), "elements", 1_500),
        Figure("long room, longest task", longest, "ms", 100),
        Figure("long room, one incoming message", max(page.evaluate("window.handlers")), "ms", 16),
    ]
