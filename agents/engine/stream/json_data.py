"""Decodes the data of an event: JSON as the standard defines it, and as providers really send it.

Accepted beyond RFC 8259: control characters in strings, NaN, invalid UTF-8 (replaced by U+FFFD),
and several values in one event, also with a `data:` between them.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

MAX_VALUES: Final = 1_000
"""Values in one event: each failed attempt to decode can read the whole rest of the event."""
_DECODER: Final = json.JSONDecoder(strict=False)
_SEPARATORS: Final = re.compile(r"(?:[\s,]|data\s*:)*", re.IGNORECASE)
_WORD: Final = re.compile(r"[^\n]*?(?=\n|data\s*:|\Z)", re.IGNORECASE)


class UnreadableData(ValueError):
    """The data begins an object that is not JSON, or has too many values: words may be lost."""


def decode_data(data: bytes) -> Iterable[Any]:
    """Return the values in the data of one event; text that is no JSON is a string.

    The iteration raises UnreadableData, after the values before, for an object that cannot be
    decoded and above MAX_VALUES.
    """
    try:
        return (msgspec.json.decode(data),)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_tolerantly(data.decode("utf-8", "replace"))


def _decode_tolerantly(text: str) -> Iterator[Any]:
    position = _skip(text, 0)
    for _ in range(MAX_VALUES):
        if position == len(text):
            return
        try:
            value, position = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            if text[position] == "{":
                raise UnreadableData from None
            word = _WORD.match(text, position)
            assert word is not None  # the pattern also matches an empty word
            value, position = word[0].strip(), max(word.end(), position + 1)
        yield value
        position = _skip(text, position)
    raise UnreadableData


def _skip(text: str, position: int) -> int:
    separators = _SEPARATORS.match(text, position)
    assert separators is not None  # the pattern also matches nothing
    return separators.end()
