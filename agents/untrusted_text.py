"""Texts of models, tools and servers: what can be stored, and what people see of it.

Three functions, because a text has three uses. Arguments, on which people decide, keep all their
characters (`storable`), because what is executed must be what was shown; people see them with
`visible`. Results and questions, which people and models read, lose what people would not see
(`plain`): a text must not say something else to a model than to people.
"""

import re
import unicodedata
from typing import Final

# Without line feeds and tabs: control characters, characters that reorder a line (UAX #9), and the
# tag characters, in which text can hide from people (Unicode 23.9).
_HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]"
)
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_BLANK: Final = frozenset(
    chr(number)
    for first, last in (
        (0x2800, 0x2800),  # the empty Braille pattern
        # Default_Ignorable_Code_Point of Unicode, but for those of the categories above
        *((0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)),
        *((0x2065, 0x2065), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0)),
        *((0xFFF0, 0xFFF8), (0xE0000, 0xE0FFF)),
    )
    for number in range(first, last + 1)
)


def join_surrogates(text: str) -> str:
    """Return the text with surrogate pairs joined, and U+FFFD in place of lone surrogates."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def storable(text: str) -> str:
    """Return the text without NUL, which PostgreSQL does not store, and with joined surrogates,
    because a lone one cannot be encoded."""
    return join_surrogates(text).replace("\x00", "")


def plain(text: str) -> str:
    """Return the storable text with LF line breaks and without the characters that people miss."""
    return _HIDDEN.sub("", storable(text.replace("\r\n", "\n")))


def visible(text: str) -> str:
    """Return a text in which characters without a look, or with an effect on others, are escaped.

    A value must not look like another one. Line feeds stay.
    """
    # Each character is looked at once: a hostile server has megabytes of definitions on one page.
    return text.translate({ord(each): _escaped(each) for each in set(text)})


def _escaped(character: str) -> str:
    is_seen = unicodedata.category(character) not in _INVISIBLE and character not in _BLANK
    if is_seen or character == "\n":
        return character
    number = ord(character)
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\u{{{number:x}}}"
