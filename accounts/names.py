"""Names that people choose: for themselves, for personas, for rooms."""

from __future__ import annotations

import re
import unicodedata

from django.utils.translation import gettext as _

from accounts.errors import Invalid

MAX_NAME_LENGTH = 40

# Marks that may stand on one letter: written languages need up to four, towers are vandalism.
_MOST_MARKS = 4

# Letters in a box or a circle could pass for the AI mark. The last block holds the letters that
# flags are made of, and a flag without a font is two boxed letters (Anguilla's are A and I).
_BADGES = (
    (0x20DD, 0x20E4),  # combining enclosing circle, square, diamond …
    (0x2460, 0x24FF),  # enclosed alphanumerics
    (0x2776, 0x2793),  # circled digits among the dingbats
    (0x3200, 0x33FF),  # enclosed and squared letters of East Asia
    (0x1F100, 0x1F2FF),  # boxed and circled letters, flag letters, boxed ideographs
)

# Letters and marks by their category, and yet nothing to see.
_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffc")
_BLANK_RANGES = ((0x180B, 0x180F), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF))

_HANDLE = re.compile(r"[^\W_][\w-]*")

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_SPACES = frozenset({"Zs", "Zl", "Zp"})


def clean_name(text: str, *, longest: int = MAX_NAME_LENGTH) -> str:
    """The name as `clean_line` leaves it, cut at `longest`; if nothing is left, it is no name."""
    return clean_line(text)[:longest].rstrip()


def required_name(text: str, *, longest: int = MAX_NAME_LENGTH) -> str:
    """The same; raises Invalid where nothing is left."""
    name = clean_name(text, longest=longest)
    if not name:
        raise Invalid(fields={"name": _("Write a name that can be seen.")})
    return name


def clean_line(text: str) -> str:
    """The text on one line, without what cannot be seen, turns the line round or mimics a badge.

    It is for what stands beside a name, too: a role, a topic.
    """
    # Line breaks and tabs are controls; they part words, so they become spaces before the rest go.
    spaced = re.sub(r"[\t\n\v\f\r\x1c-\x1f\x85]", " ", unicodedata.normalize("NFC", text))
    seen = "".join(_seen(character) for character in spaced)
    return " ".join(_without_towers(seen).split())


def clean_handle(text: str) -> str:
    """The handle that is meant by what somebody typed, in lower case; empty if it cannot be one.

    Letters of any script, digits, - and _ are what a mention in a message may consist of.
    """
    handle = unicodedata.normalize("NFKC", text).strip().removeprefix("@").lower()
    return handle if len(handle) <= MAX_NAME_LENGTH and _HANDLE.fullmatch(handle) else ""


def handle_for(name: str) -> str:
    """A handle made of a name, or an empty one where the name has no letters for it."""
    words = re.sub(r"[^\w-]+", "-", unicodedata.normalize("NFKC", name).lower())
    return clean_handle(words[:MAX_NAME_LENGTH].strip("-_"))


def initials(name: str, *, most: int = 2) -> str:
    """One or two letters that stand for a name in a small circle."""
    words = name.split()
    if not words:
        return ""
    if _is_hangul(words[0]):
        # Family names have one syllable, seldom two; what follows is the name people are called by.
        given = words[0][-2:] if len(words) == 1 and len(words[0]) in (3, 4) else words[0]
        return given[:most]
    if len(words) == 1:
        return words[0][0].upper()
    return (words[0][0] + words[-1][0]).upper()


def _seen(character: str) -> str:
    category = unicodedata.category(character)
    if category in _SPACES:
        return " "
    if category in _INVISIBLE or category == "Me" or character in _BLANKS:
        return ""
    if _within(character, _BADGES) or _within(character, _BLANK_RANGES):
        return ""
    return character


def _without_towers(text: str) -> str:
    kept: list[str] = []
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character) == "Mn" else 0
        if marks <= _MOST_MARKS:
            kept.append(character)
    return "".join(kept)


def _within(character: str, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= ord(character) <= last for first, last in ranges)


def _is_hangul(word: str) -> bool:
    return all("가" <= character <= "힣" for character in word)
