"""The arguments of a call as names and values; `static/rooms/acting/arguments.js` does the same.

Values that are not strings are shown as they are stored: a number that is parsed and written again
may be another number.
"""

import json
from dataclasses import dataclass
from typing import Final

from agents.untrusted_text import visible
from rooms.pages.layout import RULES

_DECODER: Final = json.JSONDecoder()
_SPACES: Final = " \t\n\r"


@dataclass(frozen=True, slots=True)
class Arguments:
    """Names and values as they are shown; `is_cut` says that there is more."""

    rows: list[tuple[str, str]]
    is_cut: bool


def argument_rows(text: str) -> Arguments:
    """Return the first lines of the arguments, which are a JSON object; another text is one row."""
    rows: list[tuple[str, str]] = []
    left = RULES.argument_lines
    for name, value in _pairs(text):
        if left == 0:
            return Arguments(rows, is_cut=True)
        shown, used, is_cut = _first_lines(visible(value), left)
        rows.append((visible(name), shown))
        if is_cut:
            return Arguments(rows, is_cut=True)
        left -= used
    return Arguments(rows, is_cut=False)


def _first_lines(text: str, most: int) -> tuple[str, int, bool]:
    """Return the first lines of a text, at most so many, their number, and whether it is cut."""
    lines: list[str] = []
    used = 0
    for line in text.split("\n"):
        needed = max(1, -(-len(line) // RULES.argument_columns))
        if used + needed > most:
            start = line[: (most - used) * RULES.argument_columns]
            return "\n".join([*lines, start]) + "…", most, True
        lines.append(line)
        used += needed
    return text, used, False


def _pairs(text: str) -> list[tuple[str, str]]:
    """Return the names and values of a JSON object, a value that is not a string as its source."""
    try:
        return _read_pairs(text)
    except (ValueError, IndexError):
        return [("", text)]


def _read_pairs(text: str) -> list[tuple[str, str]]:
    at = _skip(text, 0)
    if text[at] != "{":
        raise ValueError("not an object")
    pairs = []
    at = _skip(text, at + 1)
    while text[at] != "}":
        name, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        if text[at] != ":" or not isinstance(name, str):
            raise ValueError("no name")
        start = _skip(text, at + 1)
        value, end = _DECODER.raw_decode(text, start)
        pairs.append((name, value if isinstance(value, str) else text[start:end]))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return pairs


def _skip(text: str, at: int) -> int:
    while text[at] in _SPACES:
        at += 1
    return at
