"""Four answers that stream Markdown at once: what they cost the renderer of a reader's page."""

from collections.abc import Callable
from typing import Any, Final

from playwright.sync_api import Page

from tests.bench.report.figures import Figure
from tests.e2e.server import Server
from tests.live import PopulatedRoom

ANSWERS: Final = 4
CHUNKS_PER_SECOND: Final = 100

# Keeps long tasks, and the layout shifts of what is in the timeline. Without frames of its own.
WATCH: Final = """
(() => {
  window.tasks = []; window.shift = 0;
  new PerformanceObserver((list) => {
    window.tasks.push(...list.getEntries().map((task) => task.duration));
  }).observe({ type: "longtask" });
  new PerformanceObserver((list) => {
    for (const { sources, value } of list.getEntries()) {
      if (sources.some(({ node }) => window.read?.contains(node))) window.shift += value;
    }
  }).observe({ type: "layout-shift" });
})();
"""
READ: Final = """
() => {
  const box = document.querySelector("[data-scroll]");
  const top = box.getBoundingClientRect().top;
  window.read = [...document.querySelectorAll("[data-body] > *")].find(
    (block) => !block.childElementCount && block.getBoundingClientRect().top > top + 100);
  window.readTop = window.read.getBoundingClientRect().top;
  window.shift = 0;
}
"""
UP: Final = """() => new Promise((done) => {
  const box = document.querySelector("[data-scroll]");
  box.onscroll = () => requestAnimationFrame(done);
  box.scrollTop -= 900;
})"""
MOVED: Final = "() => Math.abs(window.read.getBoundingClientRect().top - window.readTop)"


def measure_streams(page: Page, server: Server, *, quick: bool) -> list[Figure]:
    """Measure a page that has WATCH. In the second half of the time its reader reads above."""
    seconds = 10 if quick else 30
    chunks = seconds * CHUNKS_PER_SECOND
    models = [f"markdown-{chunks}-{CHUNKS_PER_SECOND}-{n}" for n in range(1, ANSWERS + 1)]
    (room,) = server.populate(1, 2, *models)
    key = server.keys[room.members[0].user]
    page.context.add_cookies([{"name": "maru_session", "value": key, "url": server.url}])
    page.goto(server.address(room), wait_until="networkidle")
    heap = _heap_of(page)
    before = heap()
    _ask(server, room, models)
    busy = f"() => document.querySelectorAll('.message[data-state=streaming]').length === {ANSWERS}"
    page.wait_for_function(busy)
    page.evaluate("window.tasks = []")
    cpu = _cpu_of(page)
    began, used = page.evaluate("performance.now()"), cpu()
    page.wait_for_timeout(500 * seconds)
    page.evaluate(UP)
    page.evaluate(READ)
    ended = "() => document.querySelectorAll('.message[aria-busy=true]').length === 0"
    page.wait_for_function(ended, timeout=4_000 * seconds, polling=500)
    passed = (page.evaluate("performance.now()") - began) / 1000
    share = 100 * (cpu() - used) / passed
    tasks = page.evaluate("window.tasks")
    shift, moved = page.evaluate("window.shift"), page.evaluate(MOVED)
    page.evaluate("document.querySelector('a[href$=\"/settings/\"]').click()")
    page.wait_for_function("() => location.pathname.endsWith('/settings/')")
    return [
        Figure("four answers, tasks over 50 ms", len(tasks), "tasks", 0),
        Figure("four answers, longest task over 50 ms", max(tasks, default=0), "ms", 50),
        Figure("four answers, CPU of the renderer", share, "%", 25),
        Figure("four answers, layout shift of what is read", shift, "shift", 0),
        Figure("four answers, what is read has moved", moved, "pixels", 0),
        Figure("four answers, heap that a left room keeps", (heap() - before) / 1024, "KB"),
    ]


def _ask(server: Server, room: PopulatedRoom, models: list[str]) -> None:
    text = " ".join(f"@{model}" for model in models)
    path, token = f"/rooms/{room.id}/messages", room.members[1].token
    status, answer = server.installation.request("POST", path, token, {"text": text})
    if status >= 300:
        raise RuntimeError(answer)


def _cpu_of(page: Page) -> Callable[[], float]:
    """Return a function that returns the seconds of CPU that all renderers have used."""
    browser: Any = page.context.browser
    session = browser.new_browser_cdp_session()

    def used() -> float:
        processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
        return sum(float(one["cpuTime"]) for one in processes if one["type"] == "renderer")

    return used


def _heap_of(page: Page) -> Callable[[], float]:
    """Return a function that returns the bytes of the JavaScript heap after a collection."""
    session = page.context.new_cdp_session(page)

    def used() -> float:
        session.send("HeapProfiler.collectGarbage")
        return float(session.send("Runtime.getHeapUsage")["usedSize"])

    return used
