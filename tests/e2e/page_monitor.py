"""Records errors of pages: console errors, failed requests, foreign hosts, policy violations."""

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

from tests.deadlines import DEADLINE

# Schemes that cause no network request.
INSIDE = ("about:", "blob:", "data:", "chrome-error:")


@dataclass
class PageMonitor:
    """The errors of all browser contexts that it observes, one line each."""

    origin: str
    errors: list[str] = field(default_factory=list)
    _expected: list[str] = field(default_factory=list)

    def observe(self, context: BrowserContext) -> None:
        """Observe every page of this browser context."""
        context.on("console", self._on_console)
        context.on("weberror", self._on_error)
        context.on("dialog", self._on_dialog)
        context.on("request", self._on_request)
        context.on("response", self._on_response)
        context.on("page", self._on_page)

    def expect(self, pattern: str) -> None:
        """Expect errors that match the pattern."""
        self._expected.append(pattern)

    def expect_status(self, status: int, path: str) -> None:
        """Expect this status for this path, and Chromium's console error about it."""
        self.expect(rf"^HTTP {status} http://[^/]+{re.escape(path)}")
        self.expect(rf"^console error: .* status of {status} .* http://[^/]+{re.escape(path)}")

    @property
    def unexpected(self) -> list[str]:
        """The errors that the test does not expect."""
        return [
            error
            for error in self.errors
            if not any(re.search(pattern, error) for pattern in self._expected)
        ]

    def wait_for_error(self, page: Page, words: str) -> None:
        """Wait until an error contains these words."""
        deadline = monotonic() + DEADLINE
        while not any(words in error for error in self.unexpected):
            if monotonic() > deadline:
                raise AssertionError(f"No {words} among {self.errors}")
            page.wait_for_timeout(20)  # Playwright delivers events only during a call

    def _on_page(self, page: Page) -> None:
        page.on("websocket", self._on_socket)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning", "assert"}:
            url = message.location.get("url", "")
            self.errors.append(f"console {message.type}: {message.text} {url}")

    def _on_error(self, error: WebError) -> None:
        self.errors.append(f"page error: {error.error}")

    def _on_dialog(self, dialog: Dialog) -> None:
        self.errors.append(f"dialog {dialog.type}: {dialog.message}")
        dialog.dismiss()

    def _on_request(self, request: Request) -> None:
        self._check_origin(request.url)

    def _on_response(self, response: Response) -> None:
        if response.status >= 400:
            self.errors.append(f"HTTP {response.status} {response.url}")

    def _on_socket(self, socket: WebSocket) -> None:
        self._check_origin(socket.url)

    def _check_origin(self, url: str) -> None:
        if url.startswith(INSIDE):
            return
        if urlsplit(url).netloc != urlsplit(self.origin).netloc:
            self.errors.append(f"foreign request: {url}")
