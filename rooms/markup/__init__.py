"""What people and personas write becomes HTML here, and nowhere else.

Markdown without HTML and without images, then a tag allow-list as the last word. Nothing in the
result runs, and nothing in it makes a browser ask another server before somebody clicks a link.
"""

import re
from collections.abc import Collection
from html import escape
from typing import Any, Final

from markdown_it import MarkdownIt

from rooms.markup.clean import clean
from rooms.markup.code import Painter
from rooms.markup.links import by_fold, link_and_mention, mentioned
from rooms.markup.writer import Writer

__all__ = ["mentioned", "plain", "render"]

DEEPEST: Final = 20

# Text beyond one of these takes the parser too long: it is shown as it was typed. A long answer
# with a large table stays well below all of them.
MOST_CHARACTERS: Final = 40_000
MOST_LINES: Final = 2_500
MOST_OF_ONE_SIGN: Final = 2_500
MOST_CELLS: Final = 6_000
_SIGNS: Final = "[]()*_~`|<>&!"

_SURROGATES: Final = re.compile(r"[\ud800-\udfff]")


def _markdown() -> MarkdownIt:
    options = {"html": False, "linkify": False, "breaks": True, "maxNesting": DEEPEST}
    markdown = MarkdownIt("js-default", options, renderer_cls=Writer)
    markdown.disable("image")
    markdown.core.ruler.push("link_and_mention", link_and_mention)
    return markdown


_MARKDOWN: Final = _markdown()


def render(text: str, handles: Collection[str] = ()) -> str:
    """Return `text` as HTML that is safe to set into a page, in bounded time.

    `@handle` becomes a mention where it is one of `handles`. What would take too long, or is nested
    too deeply to be read, comes back as it was typed.
    """
    text = _SURROGATES.sub("\ufffd", text)
    if not _is_affordable(text):
        return plain(text)
    env: dict[str, Any] = {"handles": by_fold(handles), "painter": Painter()}
    tokens = _MARKDOWN.parse(text, env)
    # Beyond its depth limit the parser drops text without a word.
    if any(token.level >= DEEPEST - 1 for token in tokens):
        return plain(text)
    return clean(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, env))


def plain(text: str) -> str:
    """Return `text` as it was typed, as HTML."""
    if not text:
        return ""
    lines = escape(_SURROGATES.sub("\ufffd", text)).replace("\n", "<br>\n")
    return f'<p class="plain-text">{lines}</p>\n'


def _is_affordable(text: str) -> bool:
    if len(text) > MOST_CHARACTERS or text.count("\n") > MOST_LINES:
        return False
    if any(text.count(sign) > MOST_OF_ONE_SIGN for sign in _SIGNS):
        return False
    # The parser fills up every row of a table to the width of its head.
    rows = [line.count("|") for line in text.split("\n") if "|" in line]
    return not rows or max(rows) * len(rows) <= MOST_CELLS
