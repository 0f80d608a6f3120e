"""Rules that keep what people typed where Markdown would change or hide it."""

import re
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block.table import escapedSplit, getLine, table
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline, escape
from markdown_it.token import Token

MAX_CELLS: Final = 2_000
"""The maximum number of cells in the tables of a message."""

# A path of Windows, from its first backslash: "\\server\share", "C:\_new". Delimiters and brackets
# end it, because they may belong to the text around it.
_PATH: Final = re.compile(r"(?:\\[^\s\\\"<>|`*~()\[\]{}]*)+")
_DRIVE: Final = re.compile(r"(?<![^\W_])[A-Za-z]:\Z")
_BREAK: Final = re.compile(r"<br\s*/?>", re.IGNORECASE)


def keep_as_typed(markdown: MarkdownIt) -> None:
    """Change the rules of `markdown`.

    Definitions of links ("[TODO]: fix") and headings by underlining ("===", "---") are disabled:
    both appear in messages that mean neither.
    """
    markdown.disable(["reference", "lheading"])
    markdown.block.ruler.at("table", _table_without_loss, {"alt": ["paragraph", "reference"]})
    markdown.inline.ruler.at("escape", _escape)
    markdown.core.ruler.before("text_join", "break_cells", _break_cells)
    markdown.core.ruler.push("number_items", _number_items)


def _escape(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 # the signature of markdown-it
    """Keep backslashes in paths and before backslashes; otherwise escape as CommonMark does."""
    pos = state.pos
    if state.src[pos] != "\\":
        return False
    before = state.src[max(0, pos - 3) : pos]
    is_share = state.src.startswith("\\\\", pos) and not before[-1:].isalnum()
    if is_share or _DRIVE.search(before):
        path = _PATH.match(state.src, pos, state.posMax)
        kept = path[0] if path else "\\"
    elif state.src.startswith("\\\\", pos):
        kept = "\\\\"
    else:
        return escape(state, silent)
    if not silent:
        state.append_pending(kept)
    state.pos += len(kept)
    return True


def _table_without_loss(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001 # the signature of markdown-it
    """Leave a table as text if cells would not be shown, or if it has too many.

    A row that is longer than the head loses its last cells, and a shorter row is padded.
    """
    if silent or not table(state, start, end, True):
        return silent and table(state, start, end, True)
    width, rows = _cells(getLine(state, start)), 1
    for line in range(start + 2, end):
        if state.isEmpty(line) or state.sCount[line] < state.blkIndent:
            break
        if _cells(getLine(state, line)) > width:
            return False
        rows += 1
    state.env["cells"] = state.env.get("cells", 0) + width * rows
    return state.env["cells"] <= MAX_CELLS and table(state, start, end, False)


def _cells(line: str) -> int:
    cells = escapedSplit(line.strip())
    return len(cells) - (not cells[0]) - (len(cells) > 1 and not cells[-1])


def _break_cells(state: StateCore) -> None:
    """Make a line break of `<br>` in a cell of a table, which has no other way to write one."""
    for opened, inline in zip(state.tokens, state.tokens[1:], strict=False):
        if opened.type in ("th_open", "td_open") and inline.children:
            inline.children = [
                made
                for child in inline.children
                for made in (_with_breaks(child) if child.type == "text" else [child])
            ]


def _with_breaks(text: Token) -> list[Token]:
    first, *others = _BREAK.split(text.content)
    made = [Token("text", "", 0, content=first)]
    for other in others:
        made += [Token("hardbreak", "br", 0), Token("text", "", 0, content=other)]
    return made


def _number_items(state: StateCore) -> None:
    """Keep the numbers of ordered lists; HTML would count them from the first one."""
    expected: list[int] = []
    for token in state.tokens:
        if token.type == "ordered_list_open":
            expected.append(int(token.attrs.get("start", 1)))
        elif token.type == "ordered_list_close":
            expected.pop()
        elif token.type == "list_item_open" and token.info:
            number = int(token.info)
            if number != expected[-1]:
                token.attrs["value"] = number
            expected[-1] = number + 1
