"""Scripts and East Asian characters: where words, addresses and emphasis begin and end."""

import unicodedata
from functools import cache
from typing import Final

_SCRIPTS: Final = {
    "CJK": "han",
    "HIRAGANA": "kana",
    "KATAKANA": "kana",
    "KATAKANA-HIRAGANA": "kana",
    "IDEOGRAPHIC": "han",
    "DIGIT": "latin",
    "LOW": "latin",
    "HYPHEN-MINUS": "latin",
}

# Blocks of Chinese, Japanese and Korean. Pictographs, which are as wide, are outside of them.
_CJK: Final = (
    (0x1100, 0x11FF),
    (0x20A9, 0x20A9),
    (0x2329, 0x232A),
    (0x2E80, 0x303E),
    (0x3040, 0xA4CF),
    (0xA960, 0xA97F),
    (0xAC00, 0xD7FF),
    (0xF900, 0xFAFF),
    (0xFE10, 0xFE1F),
    (0xFE30, 0xFE6F),
    (0xFF01, 0xFFEE),
    (0x16FE0, 0x18FFF),
    (0x1AFF0, 0x1B2FF),
    (0x20000, 0x3FFFD),
)


@cache
def is_cjk(character: str) -> bool:
    """Return True for a letter, digit or punctuation mark of Chinese, Japanese or Korean."""
    code = ord(character)
    return code >= 0x1100 and any(first <= code <= last for first, last in _CJK)


@cache
def is_cjk_punctuation(character: str) -> bool:
    """Return True for a punctuation mark or symbol of Chinese, Japanese or Korean."""
    return is_cjk(character) and unicodedata.category(character)[0] in "PSZ"


@cache
def is_variation_selector(character: str) -> bool:
    """Return True for a character that selects a form of the character before it."""
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"


@cache
def script(character: str) -> str:
    """Return the script of a letter or digit in lower case: "latin", "hangul", "han", "kana" …

    ASCII digits, "-" and "_" count as "latin", the script of the handles that they are part of.
    """
    word = unicodedata.name(character, "").partition(" ")[0]
    return _SCRIPTS.get(word, word.lower())
