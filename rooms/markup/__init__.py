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
from rooms.markup.footnotes import add_footnotes
from rooms.markup.formulas import add_formulas
from rooms.markup.links import bare_link, show_hosts
from rooms.markup.mentions import (
    ADDRESSED_CLOSE,
    ADDRESSED_OPEN,
    MAX_SIGNS,
    SIGNS,
    add_chips,
    keep_escaped_signs,
    mark_addressed,
)
from rooms.markup.renderer import MessageRenderer
from rooms.markup.work import TooMuchWork, limit_work, limited

__all__ = ["MAX_CHARACTERS", "ParsedText", "Rendered", "html_limit", "parse", "render"]

MAX_NESTING: Final = 20

# Text beyond one of these limits is shown as plain text, because the parser would be too slow.
MAX_CHARACTERS: Final = 40_000
MAX_LINES: Final = 2_500

MAX_GROWTH: Final = 4
SMALL: Final = 16 * 1024
"""The HTML of Markdown has at most MAX_GROWTH bytes for each byte of the text, or SMALL bytes."""

_SURROGATES: Final = re.compile(r"[\ud800-\udfff]")
_LINE_WITH_SIGN: Final = re.compile(rf"^[^\n{SIGNS}]*[{SIGNS}][^\n]*", re.MULTILINE)
_TAG: Final = re.compile(r"<[^>]*>")


@dataclass(frozen=True, slots=True)
class Rendered:
    """The HTML of a message, and the handles that it shows as mentions, in their order."""

    html: str
    mentioned: tuple[str, ...]


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
            return Rendered(self.html, ())
        return Rendered(*add_chips(self.html, handles()))


def _markdown() -> MarkdownIt:
    options = {
        "html": False,
        "linkify": False,
        "breaks": True,
        "maxNesting": MAX_NESTING,
        "tasklists": True,
    }
    markdown = MarkdownIt("js-default", options, renderer_cls=MessageRenderer)
    markdown.inline = CjkFriendlyInline()
    markdown.disable("image")
    markdown.inline.ruler.at("linkify", bare_link)
    keep_as_typed(markdown)
    add_formulas(markdown)
    add_footnotes(markdown)
    markdown.core.ruler.before("text_join", "keep_escaped_signs", keep_escaped_signs)
    markdown.core.ruler.push("mark_addressed", mark_addressed)
    markdown.core.ruler.push("show_hosts", show_hosts)
    limit_work(markdown)
    return markdown


_MARKDOWN: Final = _markdown()


def parse(text: str, *, max_characters: int = MAX_CHARACTERS) -> ParsedText:
    """Return `text` as sanitized HTML. Takes at most about 50 ms and `html_limit(text)` bytes.

    Text that has more than `max_characters`, exceeds another limit, is nested too deeply, or would
    not show anything as Markdown, is returned as plain text.
    """
    valid = _SURROGATES.sub("\ufffd", text)
    is_short = len(text) <= min(max_characters, MAX_CHARACTERS)
    return ParsedText(text, (is_short and _formatted(valid)) or _plain(valid))


def render(text: str, handles: Collection[str] = ()) -> str:
    """Return the HTML of `text` with the mentions of `handles`."""
    return parse(text).in_room(lambda: handles).html


def html_limit(text: str) -> int:
    """Return the maximum number of bytes that Markdown may take; chips come in addition."""
    return max(MAX_GROWTH * len(text.encode()), SMALL)


def _formatted(text: str) -> str:
    """Return the HTML of Markdown, or "" if the text must be shown as plain text."""
    if text.count("\n") > MAX_LINES:
        return ""
    env = limited()
    try:
        tokens = _MARKDOWN.parse(text, env)
    except TooMuchWork:
        return ""
    # Beyond its depth limit the parser drops text without an error.
    if any(token.level >= MAX_NESTING - 1 for token in tokens):
        return ""
    has_code = any(token.type == "fence" for token in tokens)
    for highlighter in (Highlighter(), Highlighter(characters=0))[: 1 + has_code]:
        env["highlighter"] = highlighter
        html = clean(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, env))
        if len(html.encode()) <= html_limit(text):
            return html if _shows_something(html) else ""
    return ""


def _plain(text: str) -> str:
    """Return `text` as HTML without Markdown formatting; takes about 0.1 ms per KB."""
    if not text:
        return ""
    marked = _LINE_WITH_SIGN.sub(
        rf"{ADDRESSED_OPEN}\g<0>{ADDRESSED_CLOSE}", escape(text, quote=False), count=MAX_SIGNS
    )
    return '<p class="plain-text">' + marked.replace("\n", "<br>\n") + "</p>\n"


def _shows_something(html: str) -> bool:
    return "<hr>" in html or not is_blank(unescape(_TAG.sub("", html)))
