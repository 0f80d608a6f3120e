"""Sees everything that must never happen in a browser while somebody uses Maru."""

import re
from dataclasses import dataclass, field
from time import monotonic
from urllib.parse import urlsplit

from playwright.sync_api import (
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Page,
    Request,
    Response,
    WebError,
    WebSocket,
)

# What a page makes by itself and no network ever sees.
INSIDE = ("about:", "blob:", "data:", "chrome-error:")


@dataclass
class PageMonitor:
    """All troubles of the browsers that it watches: one line each."""

    origin: str
    troubles: list[str] = field(default_factory=list)
    _expected: list[str] = field(default_factory=list)

    def over(self, context: BrowserContext) -> None:
        """PageMonitor every page that this browser opens."""
        context.on("console", self._on_console)
        context.on("weberror", self._on_error)
        context.on("dialog", self._on_dialog)
        context.on("request", self._on_request)
        context.on("response", self._on_response)
        context.on("page", self._on_page)

    def expect(self, pattern: str) -> None:
        """This test means this to happen: a trouble that fits the pattern is none."""
        self._expected.append(pattern)

    def expect_status(self, status: int, path: str) -> None:
        """This test means that path to be answered so, and the browser to complain about it."""
        self.expect(rf"^HTTP {status} http://[^/]+{re.escape(path)}")
        self.expect(rf"^console error: .* status of {status} .* http://[^/]+{re.escape(path)}")

    @property
    def unexpected(self) -> list[str]:
        """The troubles that no test has asked for."""
        return [
            trouble
            for trouble in self.troubles
            if not any(re.search(pattern, trouble) for pattern in self._expected)
        ]

    def until_it_sees(self, page: Page, words: str, seconds: float = 10) -> None:
        """Let the browser go on until there is a trouble with these words."""
        deadline = monotonic() + seconds
        while not any(words in trouble for trouble in self.unexpected):
            if monotonic() > deadline:
                raise AssertionError(f"No {words} among {self.troubles}")
            page.wait_for_timeout(20)  # only inside a call does Playwright tell of events

    def _on_page(self, page: Page) -> None:
        page.on("websocket", self._on_socket)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning", "assert"}:
            url = message.location.get("url", "")
            self.troubles.append(f"console {message.type}: {message.text} {url}")

    def _on_error(self, error: WebError) -> None:
        self.troubles.append(f"page error: {error.error}")

    def _on_dialog(self, dialog: Dialog) -> None:
        self.troubles.append(f"dialog {dialog.type}: {dialog.message}")
        dialog.dismiss()

    def _on_request(self, request: Request) -> None:
        self._check_origin(request.url)

    def _on_response(self, response: Response) -> None:
        if response.status >= 400:
            self.troubles.append(f"HTTP {response.status} {response.url}")

    def _on_socket(self, socket: WebSocket) -> None:
        self._check_origin(socket.url)

    def _check_origin(self, url: str) -> None:
        if url.startswith(INSIDE):
            return
        if urlsplit(url).netloc != urlsplit(self.origin).netloc:
            self.troubles.append(f"foreign request: {url}")
