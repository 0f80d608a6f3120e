"""Footnotes: "[^1]" in the text, and "[^1]: words" at the start of a line.

A note stays where it was written and keeps its label, so that an unfinished answer can be shown
before its notes have arrived. A number is always a reference; another label only if its note
exists, because "[^abc]" also stands in texts about regular expressions.
"""

import re
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block.table import getLine
from markdown_it.rules_inline import StateInline

_NOTE: Final = re.compile(r"\[\^([A-Za-z0-9_-]{1,32})\]:[ \t]*")
_REFERENCE: Final = re.compile(r"\[\^([A-Za-z0-9_-]{1,32})\]")
_NOTES: Final = "notes"
"""Key of the environment of a parse: the labels of its notes."""


def add_footnotes(markdown: MarkdownIt) -> None:
    """Add the rules to `markdown`."""
    ends = ["paragraph", "reference", "blockquote"]
    markdown.block.ruler.after("heading", "footnote", _note, {"alt": ends})
    markdown.inline.ruler.before("link", "footnote_reference", _reference)


def _note(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001 # the signature of markdown-it
    if state.is_code_block(start):
        return False
    found = _NOTE.match(getLine(state, start))
    if found is None:
        return False
    if silent:
        return True
    after = _end_of_text(state, start, end)
    words = state.getLines(start, after, state.blkIndent, False).strip()[found.end() :]
    state.env.setdefault(_NOTES, set()).add(found[1])
    state.push("footnote_open", "p", 1).info = found[1]
    inline = state.push("inline", "", 0)
    inline.content = words.strip()
    inline.children = []
    state.push("footnote_close", "p", -1)
    state.line = after
    return True


def _end_of_text(state: StateBlock, start: int, end: int) -> int:
    """Return the line after a text that continues as a paragraph does."""
    rules = state.md.block.ruler.getRules("paragraph")
    parent, state.parentType = state.parentType, "paragraph"
    line = start + 1
    while line < end and not state.isEmpty(line):
        is_continuation = state.sCount[line] - state.blkIndent > 3 or state.sCount[line] < 0
        if not is_continuation and any(rule(state, line, end, True) for rule in rules):
            break
        line += 1
    state.parentType = parent
    return line


def _reference(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 # the signature of markdown-it
    if state.src[state.pos] != "[":
        return False
    found = _REFERENCE.match(state.src, state.pos, state.posMax)
    if found is None or not (found[1].isdigit() or found[1] in state.env.get(_NOTES, ())):
        return False
    if not silent:
        state.push("footnote_reference", "sup", 0).content = found[1]
    state.pos = found.end()
    return True
