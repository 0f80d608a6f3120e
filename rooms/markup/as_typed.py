"""Rules that keep what people typed where Markdown would change or hide it."""

import re
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block.table import escapedSplit, getLine, table
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline, escape
from markdown_it.token import Token

from rooms.markup.work import spend

MAX_CELLS: Final = 2_000
"""The maximum number of cells in the tables of a message."""

_STEPS_OF_TABLE: Final = 3

# A path of Windows, from its first backslash: "\\server\share", "C:\_new". Delimiters and brackets
# end it, because they may belong to the text around it.
_PATH: Final = re.compile(r"(?:\\[^\s\\\"<>|`*~()\[\]{}]*)+")
_DRIVE: Final = re.compile(r"(?<![^\W_])[A-Za-z]:\Z")
_BREAK: Final = re.compile(r"<br\s*/?>", re.IGNORECASE)

# Keys of the environment of a parse: the cells of the tables so far, and the first line after the
# rows of a refused table.
_CELLS: Final = "cells"
_REFUSED: Final = "refused_rows"


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
    markdown.core.ruler.push("join_items", _join_items)


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
    """Leave a table as text if cells would not be shown, or if the message has too many.

    A row that is longer than the head loses its last cells, and a shorter row is padded. The rows
    of a refused table are not examined again: each of them may be the head of another table.
    """
    if start < state.env.get(_REFUSED, 0) or not table(state, start, end, True):
        return False
    if silent:
        return True
    spend(state.env, _STEPS_OF_TABLE)
    width = _cells(getLine(state, start))
    after, is_longer = _end_of_rows(state, start + 2, end, width)
    cells = state.env.get(_CELLS, 0) + width * (after - start - 1)
    if is_longer or cells > MAX_CELLS:
        state.env[_REFUSED] = after
        return False
    state.env[_CELLS] = cells
    return table(state, start, end, False)


def _end_of_rows(state: StateBlock, line: int, end: int, width: int) -> tuple[int, bool]:
    """Return the line after the rows from `line` on, and True if it is a row beyond `width`.

    The rules that end the rows count each line as work.
    """
    ends = state.md.block.ruler.getRules("blockquote")  # those that `table` uses
    parent, state.parentType = state.parentType, "table"
    is_longer = False
    while line < end and state.sCount[line] >= state.blkIndent and not state.isEmpty(line):
        if any(rule(state, line, end, True) for rule in ends) or state.is_code_block(line):
            break
        is_longer = _cells(getLine(state, line)) > width
        if is_longer:
            break
        line += 1
    state.parentType = parent
    return line, is_longer


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


def _join_items(state: StateCore) -> None:
    """Give the first paragraph of each item no tag of its own.

    In CommonMark a blank line between two items puts a tag around the words of all of them, also of
    those that an unfinished answer has shown already.
    """
    first = -1
    for at, token in enumerate(state.tokens):
        if token.type in ("bullet_list_open", "ordered_list_open"):
            token.attrs.pop("class", None)  # of lists with tasks
        elif token.type == "list_item_open":
            first = at + 1
        elif token.type == "paragraph_open":
            token.hidden = state.tokens[at + 2].hidden = at == first


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
