"""Formulas in the text: "$x$", "$$x$$", "\\( x \\)", and blocks between "$$" or "\\[" and "\\]".

The HTML holds the source of a formula; the page shows it as MathML. Prices ("$5 and $10") and the
variables of a shell are no formulas. The page has the same rules for the text of an unfinished
answer: static/rooms/markdown/inline/formula_rules.js.
"""

import re
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block.table import getLine
from markdown_it.rules_inline import StateInline

from rooms.markup.characters import is_cjk
from rooms.markup.work import spend

MAX_FORMULA: Final = 1_000

_DOLLARS: Final = re.compile(r"\$\$([^$\n]{1,1000})\$\$")
_DOLLAR: Final = re.compile(r"\$(?!\s)((?:[^$\n\\]|\\[^\n]){1,1000})(?<!\s)\$")
_WORD: Final = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{3,}|^\d.*\s[A-Za-z]{2,}\s")
_BEFORE: Final = re.compile(r"[A-Za-z0-9$]")
_AFTER: Final = re.compile(r"[A-Za-z0-9_$]")
_OPENING: Final = re.compile(r"\$\$(?!\$)|\\\[(?=\s|$)")


def add_formulas(markdown: MarkdownIt) -> None:
    """Add the rules to `markdown`."""
    ends = ["paragraph", "reference", "blockquote", "list"]
    markdown.block.ruler.before("fence", "formula", _block, {"alt": ends})
    markdown.inline.ruler.before("escape", "formula", _inline)


def _inline(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 # the signature of markdown-it
    text, end = _formula_at(state.src, state.pos)
    if not text.strip() or end > state.posMax:
        return False
    if not silent:
        state.push("formula", "span", 0).content = text.strip()
    state.pos = end
    return True


def _formula_at(src: str, pos: int) -> tuple[str, int]:
    """Return the formula that begins at `pos`, and its end; "" if none does."""
    if src[pos] == "\\":
        return _in_parentheses(src, pos) if src.startswith("\\(", pos) else ("", pos)
    if src[pos] != "$":
        return "", pos
    if src.startswith("$$", pos):
        found = _DOLLARS.match(src, pos)
        return (found[1], found.end()) if found else ("", pos)
    found = _DOLLAR.match(src, pos)
    is_in_word = pos > 0 and _BEFORE.match(src, pos - 1)
    if found is None or is_in_word or _AFTER.match(src, found.end()) or _is_prose(found[1]):
        return "", pos
    return found[1], found.end()


def _in_parentheses(src: str, pos: int) -> tuple[str, int]:
    """Search for the end without a regular expression, which would take 100 times as long."""
    end = src.find("\\)", pos + 2, pos + MAX_FORMULA)
    text = src[pos + 2 : end] if end != -1 else ""
    is_spaced = text[:1].isspace() and text[-1:].isspace()
    return (text, end + 2) if is_spaced and "\n" not in text else ("", pos)


def _is_prose(text: str) -> bool:
    """Return True if `text` reads as the words between two prices."""
    return "\\" not in text and bool(_WORD.search(text) or any(map(is_cjk, text)))


def _block(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001 # the signature of markdown-it
    """Read the lines up to the closing marker; without one, they are a paragraph.

    A blank line ends both, as in LaTeX.
    """
    if state.is_code_block(start):
        return False
    first = getLine(state, start).rstrip()
    opening = _OPENING.match(first)
    if opening is None:
        return False
    marker = "$$" if opening[0] == "$$" else "\\]"
    inside = first[opening.end() :]
    is_closed = inside.endswith(marker)
    text = inside.removesuffix(marker)
    if marker in text or (is_closed and not text.strip()):
        return False
    if silent:
        return True
    lines, after = [text], start + 1
    while not is_closed and after < end and _continues(state, after):
        line = getLine(state, after).rstrip()
        is_closed = line.endswith(marker)
        lines.append(line.removesuffix(marker))
        after += 1
    spend(state.env, after - start)
    if is_closed:
        state.push("formula_block", "div", 0).content = "\n".join(lines).strip()
    else:
        _push_paragraph(state, start, after)
    state.line = after
    return True


def _continues(state: StateBlock, line: int) -> bool:
    return not state.isEmpty(line) and state.sCount[line] >= state.blkIndent


def _push_paragraph(state: StateBlock, start: int, after: int) -> None:
    state.push("paragraph_open", "p", 1)
    inline = state.push("inline", "", 0)
    inline.content = state.getLines(start, after, state.blkIndent, False).strip()
    inline.children = []
    state.push("paragraph_close", "p", -1)
