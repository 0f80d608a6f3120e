"""`make picture`: the screenshot of the README.

Two users ask two personas, whose answers come from the stub provider.
"""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from tests.chromium import launch_options
from tests.e2e.room_page import RoomPage
from tests.live import ROOT, Installation
from tests.provider import Provider, running
from tests.provider.samples import INTERVIEWS, PAUSE

PICTURE = ROOT / "static" / "maru" / "readme-room.png"
SIZE = ViewportSize(width=1280, height=800)
ASKED_FIRST = "@byeori why do approvals give up after three seconds? The gateway’s own p99 is nine."
ASKED_THEN = "That one is ours, then. @garam what do the interviews say about waiting at approval?"


def main() -> None:
    """Take the screenshot and write it to the file that the README shows."""
    with (
        TemporaryDirectory() as folder,
        running() as provider,
        Installation(Path(folder), MARU_EGRESS_ALLOW=provider.address) as installation,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(**launch_options())
        pages, address = people_in(installation, provider, browser)
        first, second = (RoomPage(page, address) for page in pages)
        hold_conversation(first, second)
        first.page.screenshot(path=PICTURE)
        provider.release()
        browser.close()
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size // 1024} KiB")


def people_in(
    installation: Installation, provider: Provider, browser: Browser
) -> tuple[list[Page], str]:
    """Create the team and open a page for each of the two users; return pages and room address."""
    out = installation.folder / "scene.json"
    subprocess.run(
        [sys.executable, "-m", "tests.e2e.demo_team", provider.base_url, str(out)],
        cwd=installation.folder,
        env={**installation.env, "DJANGO_SETTINGS_MODULE": "maru.settings"},
        check=True,
    )
    team = json.loads(out.read_text())
    pages = []
    for session in team["sessions"]:
        # Reduced motion stops the animations in a visible state.
        context = browser.new_context(locale="en-GB", viewport=SIZE, reduced_motion="reduce")
        context.add_cookies([{"name": "maru_session", "value": session, "url": installation.url}])
        pages.append(context.new_page())
    return pages, f"{installation.url}/rooms/{team['room']}/"


def hold_conversation(first: RoomPage, second: RoomPage) -> None:
    """Ask both personas; return when one answer is complete and the other is streaming."""
    second.ask(ASKED_FIRST)
    second.ended()
    first.ask(ASKED_THEN)
    expect(first.answer_text).to_have_text(INTERVIEWS.partition(PAUSE)[0])
    second.field.type("I can")
    expect(first.line).to_have_text("Hayun Kim is typing")
    expect(first.answer.locator("[data-elapsed]")).to_have_text("0:04")
    first.page.mouse.move(0, 0)


if __name__ == "__main__":
    main()
