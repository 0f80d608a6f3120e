"""Leaves out what a browser does not need: comments, spaces, and commas behind a last item.

Names stay, and each statement begins a line where a semicolon could be missing, so that errors and
a browser's tools still name functions. The result has the same syntax tree as the source.
"""

import re
from typing import Final

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |[^\s"'`/]+
    |.""",
    re.DOTALL | re.VERBOSE,
)
_PATTERN: Final = re.compile(r"/(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/\w*")
_WORD: Final = re.compile(r"[\w$#]")
_LAST_WORD: Final = re.compile(r"[\w$]+\Z")
# Behind these words and signs a slash begins a regular expression; behind others it divides.
_BEFORE_PATTERN: Final = frozenset(
    {"return", "typeof", "case", "in", "of", "await", "yield", "throw", "void", "delete", "else"}
)
_ENDS_VALUE: Final = ")]}"
# A line break behind or before these signs never ends a statement.
_GOES_ON_BEHIND: Final = "{([;,=:?&|*%<>!~^."
_GOES_ON_BEFORE: Final = "})];,=:?&|*%<>^."

_STYLE: Final = re.compile(
    r"""(?P<string>"[^"]*"|'[^']*')|/\*.*?\*/|(?P<end>;?\s*\})\s*|\s*(?P<sign>[{;,>])\s*
    |(?P<colon>:)\s+|(?P<space>\s+)""",
    re.DOTALL | re.VERBOSE,
)


class CannotRead(Exception):
    """A script has a template literal without an end."""


def compact_script(text: str) -> str:
    """Return a script without comments and unneeded spaces. Template literals stay as they are."""
    made: list[str] = []
    last, space, at = "", "", 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        assert found is not None  # any character is a piece
        piece = found[0]
        if found["space"] is not None:
            space += "\n" if "\n" in piece else " "
            at += len(piece)
            continue
        if piece == "`":
            piece = text[at : _end_of_template(text, at)]
        elif piece == "/" and _begins_pattern(last) and (pattern := _PATTERN.match(text, at)):
            piece = pattern[0]
        if space and last.endswith(",") and piece[0] in ")]}":  # a comma behind the last item
            made[-1] = last = last[:-1]
        made += [_between(last, piece, space), piece]
        last, space = piece, ""
        at += len(piece)
    return "".join(made)


def compact_styles(text: str) -> str:
    """Return a style sheet without comments and unneeded spaces."""

    def compacted(match: re.Match[str]) -> str:
        if match["end"]:
            return "}"
        return match["string"] or match["sign"] or match["colon"] or (" " if match["space"] else "")

    return _STYLE.sub(compacted, text).strip()


def _between(last: str, piece: str, space: str) -> str:
    """Return what has to stand between two pieces that `space` separates in the source."""
    if not last or not space:
        return ""
    if "\n" in space and last[-1] not in _GOES_ON_BEHIND and piece[0] not in _GOES_ON_BEFORE:
        return "\n"
    are_words = bool(_WORD.match(last[-1]) and _WORD.match(piece[0]))
    are_signs = last[-1] == piece[0] and piece[0] in "+-/"
    are_words |= last[0] == "/" != last and bool(_WORD.match(piece[0]))  # flags of a pattern
    return " " if are_words or are_signs else ""


def _begins_pattern(last: str) -> bool:
    """Return True if a slash behind this piece begins a regular expression."""
    if not last or last[0] in "\"'`" or (last[0] == "/" != last):
        return not last
    word = _LAST_WORD.search(last)
    return word[0] in _BEFORE_PATTERN if word else last[-1] not in _ENDS_VALUE


def _end_of_template(text: str, at: int) -> int:
    """Return the index behind the template literal that begins at `at`; it may contain others."""
    depth = 0
    at += 1
    while at < len(text):
        found = _TOKEN.match(text, at) if depth else None
        if found and (found["string"] or found["space"]):
            at = found.end()
        elif text[at] == "\\":
            at += 2
        elif text[at] == "`":
            if depth == 0:
                return at + 1
            at = _end_of_template(text, at)
        elif depth == 0:
            is_opened = text.startswith("${", at)
            depth = int(is_opened)
            at += 1 + depth
        else:
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
    raise CannotRead(text[-80:])
