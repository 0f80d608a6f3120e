"""The tool that fetches a public page and returns its text.

The URL is the choice of a model, which may do what some text has told it. So only public addresses
are reached, each redirect is checked as the first URL is, no cookie and no credential is sent, and
what the server sends is bounded in bytes, in time and in kind, and read by a process of its own.
"""

import asyncio
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, Final
from uuid import UUID
from weakref import WeakValueDictionary

import httpx
import msgspec
import structlog

from agents.egress import guard
from agents.egress.dns import HostUnknown
from agents.egress.guard import EgressRefused
from agents.egress.proxy import open_transport
from agents.egress.tcp import CertificateRefused
from agents.tool_types import ToolResult

SECONDS: Final = 15.0
"""For the whole page: name, redirects, download and text."""
MAX_BYTES: Final = 2 * 1024 * 1024
"""Of a page, as it is sent and decompressed; what follows is not read."""
MAX_REDIRECTS: Final = 5
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
MAX_PROCESSES: Final = 4
"""The pages that are read at once in this process; of each team one."""
MAX_OUTPUT: Final = 512 * 1024
"""Bytes; the program prints at most half of them."""
HEADERS: Final = {
    "User-Agent": "Maru",
    "Accept": "text/html, application/xhtml+xml, text/plain, application/json, application/xml",
    "Accept-Encoding": "gzip, deflate",
    "Connection": "close",
}
TIMEOUTS: Final = httpx.Timeout(None, connect=10.0).as_dict()  # SECONDS bounds the rest
HTML: Final = frozenset({"text/html", "application/xhtml+xml"})
TEXT: Final = frozenset({"text/plain", "text/json", "text/xml", "application/json"}) | {
    *("application/xml", "application/rss+xml", "application/atom+xml", "application/ld+json")
}
UNTRUSTED: Final = (
    "The server could not prove that it is the one of this address: its certificate is not trusted,"
    " or is for another name. Nothing was read."
)
PROGRAM: Final = Path(__file__).with_name("page_text.py")

_processes = asyncio.Semaphore(MAX_PROCESSES)
_turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

log = structlog.get_logger(__name__)


class PageFailed(Exception):
    """The page cannot be fetched or read; the text says why, in words for the model."""


@dataclass(frozen=True, slots=True)
class Page:
    """The bytes of a page; `is_cut` if the server sent more."""

    url: httpx.URL
    kind: str
    charset: str
    data: bytes
    is_cut: bool


async def run(arguments: Mapping[str, Any], team: UUID) -> ToolResult:
    """Return title, URL and text of the page at `url`, for a run of `team`."""
    try:
        async with asyncio.timeout(SECONDS):
            page = await _fetch(str(arguments["url"]), team)
            title, text = await _read(page, team)
    except TimeoutError:
        return ToolResult(f"The page took longer than {SECONDS:.0f} s.", "timeout", failed=True)
    except EgressRefused:
        return ToolResult("This is not the address of a public page.", "refused", failed=True)
    except (HostUnknown, httpx.TransportError, OSError) as error:
        log.info("page.unreachable", error=type(error).__name__)
        if isinstance(error.__cause__, CertificateRefused):
            return ToolResult(UNTRUSTED, "refused", failed=True)
        return ToolResult("The server of the page cannot be reached.", "unreachable", failed=True)
    except PageFailed as problem:
        return ToolResult(str(problem), failed=True)
    cut = f"\n\n[cut after {MAX_BYTES // 1024**2} MB]" if page.is_cut else ""
    return ToolResult(f"Title: {title}\nURL: {page.url}\n\n{text}{cut}", _size(page.data))


async def _fetch(text: str, team: UUID) -> Page:
    """Follow redirects and download the page."""
    url = guard.parse_page_url(text)
    for _hop in range(MAX_REDIRECTS + 1):
        request = httpx.Request("GET", url, headers=HEADERS, extensions={"timeout": TIMEOUTS})
        with open_transport() as transport:
            response = await transport.handle_async_request(await guard.apin_page(request, team))
            location = response.headers.get("location")
            if response.status_code not in REDIRECTS or not location:
                return await _download(url, response)
        url = _target(url, location)
    raise PageFailed(f"The page redirects more than {MAX_REDIRECTS} times.")


def _target(url: httpx.URL, location: str) -> httpx.URL:
    """Return the target of a redirect (RFC 9110 §10.2.2). Raises EgressRefused."""
    guard.check_characters(location)
    try:
        target = url.join(location)
    except (httpx.InvalidURL, ValueError):
        raise EgressRefused from None
    return guard.parse_page_url(str(target))


async def _download(url: httpx.URL, response: httpx.Response) -> Page:
    """Read the body, up to MAX_BYTES. Raises PageFailed for what is no page."""
    if not response.is_success:
        raise PageFailed(f"The server answered with the status {response.status_code}.")
    kind, charset = _content_type(response.headers.get("content-type", ""))
    inflate = _inflater(response.headers.get("content-encoding", "").strip().lower())
    data, received = bytearray(), 0
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async for piece in response.stream:
        received += len(piece)
        try:
            data += inflate(piece, MAX_BYTES + 1 - len(data))
        except zlib.error:
            raise PageFailed("The page cannot be decompressed.") from None
        if max(received, len(data)) > MAX_BYTES:
            return Page(url, kind, charset, bytes(data[:MAX_BYTES]), is_cut=True)
    return Page(url, kind, charset, bytes(data), is_cut=False)


def _content_type(header: str) -> tuple[str, str]:
    """Return what `page_text` needs to know: `html` or `text`, and the charset, if there is one."""
    message = Message()
    message["content-type"] = header
    kind, charset = header.partition(";")[0].strip().lower(), str(message.get_param("charset", ""))
    if kind not in HTML | TEXT:
        raise PageFailed("This is no page of text: only HTML, plain text, JSON and XML are read.")
    return "html" if kind in HTML else "text", charset if charset.isascii() else ""


def _inflater(encoding: str) -> Any:  # Any: a function of bytes and a limit
    """Return a function that decompresses a piece to at most so many bytes (RFC 9110 §8.4.1)."""
    if encoding in {"", "identity"}:
        return lambda piece, limit: piece[:limit]
    if encoding in {"gzip", "x-gzip", "deflate"}:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress
    raise PageFailed("The page is compressed in a way that was not asked for.")


async def _read(page: Page, team: UUID) -> tuple[str, str]:
    """Return the title and the text of a page. Raises PageFailed."""
    turn = _turns.setdefault(team, asyncio.Lock())
    async with turn, _processes:
        output = await _run_program(page)
    try:
        title, text = msgspec.json.decode(output, type=tuple[str, str])
    except msgspec.DecodeError:
        raise PageFailed("The page is too complex to be read.") from None
    if not text:
        raise PageFailed("The page has no text. It may need a browser that runs its scripts.")
    return title, text


async def _run_program(page: Page) -> bytes:
    """Return the output of `page_text`, up to MAX_OUTPUT; b"" if it has exceeded its limits."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", str(PROGRAM), page.kind, page.charset[:40]),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},  # ours has secrets
    )
    assert process.stdin is not None
    assert process.stdout is not None
    output = b""
    try:
        process.stdin.write(page.data)
        process.stdin.close()
        while len(output) <= MAX_OUTPUT and (piece := await process.stdout.read(MAX_OUTPUT)):
            output += piece
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    return output


def _size(data: bytes) -> str:
    return f"{max(1, len(data) // 1024)} KB"
