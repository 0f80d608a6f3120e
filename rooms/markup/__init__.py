"""Converts the text of messages to HTML; no other module creates this HTML.

Markdown is rendered without raw HTML and without images, then sanitized by an allow-list. The
result contains no scripts, and a browser sends no request to another server until the reader clicks
a link.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from html import escape, unescape
from typing import Final

from markdown_it import MarkdownIt

from accounts.names import is_blank
from rooms.markup.as_typed import keep_as_typed
from rooms.markup.clean import clean
from rooms.markup.code import Highlighter
from rooms.markup.flanking import CjkFriendlyInline
from rooms.markup.links import bare_link, show_hosts
from rooms.markup.mentions import (
    ADDRESSED_CLOSE,
    ADDRESSED_OPEN,
    add_chips,
    has_sign,
    keep_escaped_signs,
    mark_addressed,
)
from rooms.markup.renderer import MessageRenderer
from rooms.markup.work import TooMuchWork, limit_work, limited

__all__ = ["ParsedText", "Rendered", "html_limit", "parse", "render"]

MAX_NESTING: Final = 20

# Text beyond one of these limits is shown as plain text, because the parser would be too slow.
MAX_CHARACTERS: Final = 40_000
MAX_LINES: Final = 2_500

MAX_GROWTH: Final = 4
SMALL: Final = 16 * 1024
"""The HTML of Markdown has at most MAX_GROWTH bytes for each byte of the text, or SMALL bytes."""

_SURROGATES: Final = re.compile(r"[\ud800-\udfff]")
_TAG: Final = re.compile(r"<[^>]*>")


@dataclass(frozen=True, slots=True)
class Rendered:
    """The HTML of a message, and the handles that it shows as mentions."""

    html: str
    mentioned: frozenset[str]


@dataclass(frozen=True, slots=True)
class ParsedText:
    """A text and its sanitized HTML, without mentions: these depend on the room."""

    text: str
    html: str

    def in_room(self, handles: Callable[[], Collection[str]]) -> Rendered:
        """Return the HTML with mentions; fast enough to be called while a lock is held.

        `handles` returns those of the room; it is called only if the text may have mentions.
        """
        if ADDRESSED_OPEN not in self.html:
            return Rendered(self.html, frozenset())
        return Rendered(*add_chips(self.html, handles()))


def _markdown() -> MarkdownIt:
    options = {"html": False, "linkify": False, "breaks": True, "maxNesting": MAX_NESTING}
    markdown = MarkdownIt("js-default", options, renderer_cls=MessageRenderer)
    markdown.inline = CjkFriendlyInline()
    markdown.disable("image")
    markdown.inline.ruler.at("linkify", bare_link)
    keep_as_typed(markdown)
    markdown.core.ruler.before("text_join", "keep_escaped_signs", keep_escaped_signs)
    markdown.core.ruler.push("mark_addressed", mark_addressed)
    markdown.core.ruler.push("show_hosts", show_hosts)
    limit_work(markdown)
    return markdown


_MARKDOWN: Final = _markdown()


def parse(text: str) -> ParsedText:
    """Return `text` as sanitized HTML. Takes at most about 50 ms and `html_limit(text)` bytes.

    Text that exceeds a limit, is nested too deeply, or would not show anything as Markdown, is
    returned as plain text.
    """
    valid = _SURROGATES.sub("\ufffd", text)
    return ParsedText(text, _formatted(valid) or _plain(valid))


def render(text: str, handles: Collection[str] = ()) -> str:
    """Return the HTML of `text` with the mentions of `handles`."""
    return parse(text).in_room(lambda: handles).html


def html_limit(text: str) -> int:
    """Return the maximum number of bytes that Markdown may take; chips come in addition."""
    return max(MAX_GROWTH * len(text.encode()), SMALL)


def _formatted(text: str) -> str:
    """Return the HTML of Markdown, or "" if the text must be shown as plain text."""
    if len(text) > MAX_CHARACTERS or text.count("\n") > MAX_LINES:
        return ""
    env = limited()
    try:
        tokens = _MARKDOWN.parse(text, env)
    except TooMuchWork:
        return ""
    # Beyond its depth limit the parser drops text without an error.
    if any(token.level >= MAX_NESTING - 1 for token in tokens):
        return ""
    for highlighter in (Highlighter(), Highlighter(characters=0)):
        env["highlighter"] = highlighter
        html = clean(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, env))
        if len(html.encode()) <= html_limit(text):
            return html if _shows_something(html) else ""
    return ""


def _plain(text: str) -> str:
    """Return `text` as HTML without Markdown formatting."""
    if not text:
        return ""
    lines = (escape(line, quote=False) for line in text.split("\n"))
    marked = (
        f"{ADDRESSED_OPEN}{line}{ADDRESSED_CLOSE}" if has_sign(line) else line for line in lines
    )
    return '<p class="plain-text">' + "<br>\n".join(marked) + "</p>\n"


def _shows_something(html: str) -> bool:
    return "<hr>" in html or not is_blank(unescape(_TAG.sub("", html)))
