"""Texts of models and servers with all their characters, as people must see them to decide."""

import unicodedata
from typing import Final

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
