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
"""Values in one event."""
MAX_TOLERANT_BYTES: Final = 256 * 1024
"""Size of an event that is not JSON of the standard. It takes much longer to decode, in one step
on the event loop; JSON of the standard may have any size."""
FREE_CHARACTERS: Final = 10_000
"""Failed attempts to decode a value may read the text once, and so many characters more.

A failed attempt can read the whole rest of the event: 1,000 of them would take seconds.
"""
# `raw_decode` would count the lines of the whole text for its exception at each failed attempt.
_scan_once: Final[Any] = vars(json.JSONDecoder(strict=False))["scan_once"]  # not in typeshed
_SEPARATORS: Final = re.compile(r"(?:[\s,]++|data\s*+:)*+", re.IGNORECASE)
_WORD: Final = re.compile(r"[^\n]*?(?=\n|data\s*:|\Z)", re.IGNORECASE)


class UnreadableData(ValueError):
    """The data begins an object that is not JSON, or has too many values: words may be lost."""


def decode_data(data: bytes) -> Iterable[Any]:
    """Return the values in the data of one event; text that is no JSON is a string.

    Raises UnreadableData above MAX_TOLERANT_BYTES. The iteration raises UnreadableData, after the
    values before, for an object that cannot be decoded, above MAX_VALUES, and if failed attempts
    read too many characters.
    """
    try:
        return (msgspec.json.decode(data),)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if len(data) > MAX_TOLERANT_BYTES:
            raise UnreadableData from None
        return _decode_tolerantly(data.decode("utf-8", "replace"))


def _decode_tolerantly(text: str) -> Iterator[Any]:
    position = _skip(text, 0)
    wasted = 0
    for _ in range(MAX_VALUES):
        if position == len(text):
            return
        try:
            value, position = _scan_once(text, position)
        except (StopIteration, ValueError, RecursionError) as error:
            if text[position] == "{":
                raise UnreadableData from None
            # Other errors do not tell how far they have read, and count the lines of the text.
            wasted += error.value - position if isinstance(error, StopIteration) else len(text)
            if wasted > len(text) + FREE_CHARACTERS:
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
