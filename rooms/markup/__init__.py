"""Converts the text of messages to HTML; no other module creates this HTML.

Markdown is rendered without raw HTML and without images, then sanitized by an allow-list. The
result contains no scripts, and a browser sends no request to another server until the reader clicks
a link.
"""

import re
from collections.abc import Collection
from html import escape
from typing import Any, Final

from markdown_it import MarkdownIt

from rooms.markup.clean import clean
from rooms.markup.code import Highlighter
from rooms.markup.links import by_casefold, link_and_mention, mentioned
from rooms.markup.renderer import MessageRenderer

__all__ = ["mentioned", "plain", "render"]

MAX_NESTING: Final = 20

# Text beyond one of these limits is shown as plain text, because the parser would be too slow.
# A long answer with a large table stays well below all of them.
MAX_CHARACTERS: Final = 40_000
MAX_LINES: Final = 2_500
MAX_OF_ONE_SIGN: Final = 2_500
MAX_CELLS: Final = 6_000
_SIGNS: Final = "[]()*_~`|<>&!"

_SURROGATES: Final = re.compile(r"[\ud800-\udfff]")


def _markdown() -> MarkdownIt:
    options = {"html": False, "linkify": False, "breaks": True, "maxNesting": MAX_NESTING}
    markdown = MarkdownIt("js-default", options, renderer_cls=MessageRenderer)
    markdown.disable("image")
    markdown.core.ruler.push("link_and_mention", link_and_mention)
    return markdown


_MARKDOWN: Final = _markdown()


def render(text: str, handles: Collection[str] = ()) -> str:
    """Return `text` as sanitized HTML, in bounded time.

    `@handle` becomes a mention if it is one of `handles`. Text that exceeds a limit, or is nested
    too deeply, is returned as plain text.
    """
    text = _SURROGATES.sub("\ufffd", text)
    if not _is_within_limits(text):
        return plain(text)
    env: dict[str, Any] = {"handles": by_casefold(handles), "highlighter": Highlighter()}
    tokens = _MARKDOWN.parse(text, env)
    # Beyond its depth limit the parser drops text without an error.
    if any(token.level >= MAX_NESTING - 1 for token in tokens):
        return plain(text)
    return clean(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, env))


def plain(text: str) -> str:
    """Return `text` as HTML without Markdown formatting."""
    if not text:
        return ""
    lines = escape(_SURROGATES.sub("\ufffd", text)).replace("\n", "<br>\n")
    return f'<p class="plain-text">{lines}</p>\n'


def _is_within_limits(text: str) -> bool:
    if len(text) > MAX_CHARACTERS or text.count("\n") > MAX_LINES:
        return False
    if any(text.count(sign) > MAX_OF_ONE_SIGN for sign in _SIGNS):
        return False
    # The parser pads every row of a table to the width of its head.
    rows = [line.count("|") for line in text.split("\n") if "|" in line]
    return not rows or max(rows) * len(rows) <= MAX_CELLS
