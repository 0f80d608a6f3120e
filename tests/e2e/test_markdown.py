"""Answers are formatted while they stream; their growth and their end move nothing."""

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Open
from tests.e2e.room_page import RoomPage
from tests.e2e.server import Server
from tests.provider import Provider

# Keeps the blocks of the newest answer, and sums the layout shifts of its text from now on.
KEEP = """
() => {
  const body = [...document.querySelectorAll("[data-author=persona] [data-body]")].at(-1);
  const blocks = [...body.children];
  const tops = blocks.map((block) => block.getBoundingClientRect().top);
  window.kept = { body, blocks, tops, shift: 0 };
  new PerformanceObserver((list) => {
    for (const { sources, value } of list.getEntries()) {
      if (sources.some(({ node }) => body.contains(node))) window.kept.shift += value;
    }
  }).observe({ type: "layout-shift" });
}
"""
KEPT = """
() => {
  const { body, blocks, tops, shift } = window.kept;
  const now = [...body.children];
  const tenth = (pixels) => Math.round(pixels * 10) / 10;
  return {
    same: now.map((block, at) => block === blocks[at]),
    tags: now.map((block) => block.className || block.localName),
    moved: now.map((block, at) => tenth(block.getBoundingClientRect().top - tops[at])),
    shift,
  };
}
"""
# Follows the block at the top of the view in each frame.
WATCH = """
() => {
  const box = document.querySelector("[data-scroll]");
  const top = box.getBoundingClientRect().top;
  const read = [...document.querySelectorAll("[data-body] > *, [data-body]")].find(
    (block) => !block.childElementCount && block.getBoundingClientRect().top > top);
  window.watched = { read, tops: new Set(), frames: 0 };
  const look = () => {
    window.watched.tops.add(Math.round(read.getBoundingClientRect().top));
    window.watched.frames += 1;
    requestAnimationFrame(look);
  };
  look();
}
"""
WATCHED = """
() => {
  const { read, tops, frames } = window.watched;
  return { tops: [...tops], frames, there: read.isConnected };
}
"""
MARKS = ("##", "**", "|--", "```", "- [", "](", "$c")


@pytest.fixture
def room_page(server: Server, sign_in: Open) -> RoomPage:
    (room,) = server.populate(1, 1, "sample-markdown", "sample-markdown-2", "sample-markdown-3")
    return RoomPage(sign_in(room.members[0]), server.address(room))


def test_answer_is_formatted_while_it_streams_and_its_end_moves_nothing(
    room_page: RoomPage, provider: Provider
) -> None:
    katex = (
        "performance.getEntriesByType('resource').filter((e) => e.name.includes('katex')).length"
    )
    assert room_page.page.evaluate(katex) == 0
    room_page.follow()

    room_page.ask("@sample-markdown Where does the time go?")
    expect(room_page.answer_text).to_contain_text("Nothing else")
    body = room_page.answer_text
    for selector in ("h4", "strong", "li li", "td[data-align=end]", ".code-file", "li.task"):
        expect(body.locator(selector).first).to_be_visible()
    expect(body.locator(".code-keyword").first).to_have_text("async")
    expect(body.locator("math")).to_be_visible()
    assert room_page.page.evaluate(katex) == 1
    expect(body.get_by_role("link", name="the report")).to_have_attribute(
        "href", "https://a.example/r"
    )
    room_page.page.evaluate(KEEP)
    provider.release()
    room_page.ended()

    kept = room_page.page.evaluate(KEPT)
    assert set(kept["moved"]) == {0}, kept
    assert kept["shift"] == 0
    changed = [tag for tag, same in zip(kept["tags"], kept["same"], strict=True) if not same]
    assert set(changed) <= {"code"}, kept  # the colours of the server differ
    states, _nodes = room_page.followed()
    assert len(states) > 1
    assert [state for state in states for mark in MARKS if mark in state] == []


def test_growing_answers_do_not_move_what_is_being_read(
    room_page: RoomPage, provider: Provider
) -> None:
    for text in ("one", "two"):
        room_page.ask(f"@sample-markdown {text}")
        expect(room_page.answer_text).to_contain_text("Nothing else")
        provider.release()
        room_page.ended()

    room_page.write("@sample-markdown @sample-markdown-2 @sample-markdown-3 again")
    expect(room_page.answers).to_have_count(5)
    scroll_up(room_page.page)
    room_page.page.evaluate(WATCH)
    room_page.page.wait_for_function("() => window.watched.frames > 60")  # while the answers grow
    provider.release()
    # The page removes answers that are far from the view, so the provider tells when they end.
    assert provider.wait(lambda provider: all(r.ended for r in provider.requests[-3:]))
    expect(room_page.page.locator(".message[aria-busy=true]")).to_have_count(0)

    watched = room_page.page.evaluate(WATCHED)
    assert watched["there"]
    assert watched["frames"] > 10
    assert len(watched["tops"]) == 1, watched


def scroll_up(page: Page) -> None:
    """Scroll by more than a screen, and wait until the page has noticed it."""
    box = page.locator("[data-scroll]")
    box.evaluate("(box) => new Promise((done) => { box.onscroll = done; box.scrollTop -= 900; })")
