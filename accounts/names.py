"""Cleaning of names that users choose for themselves, personas, rooms and teams."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import TypeVar

from django.utils.translation import gettext as _

from accounts.errors import Invalid

MAX_NAME_LENGTH = 40
MAX_SEARCH_KEY_LENGTH = 120

S = TypeVar("S", bound=Hashable)

# The maximum of combining marks on one letter. Written languages need at most four; text with more
# marks can overprint other lines.
_MAX_MARKS = 4

# Boxed or circled letters could imitate the AI mark. The last block contains the regional
# indicators: without a flag font, the flag of Anguilla is shown as a boxed A and a boxed I.
_BADGES = (
    (0x20DD, 0x20E4),  # combining enclosing circle, square, diamond …
    (0x2460, 0x24FF),  # enclosed alphanumerics
    (0x2776, 0x2793),  # circled digits among the dingbats
    (0x3200, 0x33FF),  # enclosed and squared letters of East Asia
    (0x1F100, 0x1F2FF),  # boxed and circled letters, flag letters, boxed ideographs
)

# Invisible characters whose Unicode category is letter, mark or symbol.
_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffc\U00016fe4\U0001d159")
_BLANK_RANGES = ((0x180B, 0x180F), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF))

_HANDLE = re.compile(r"[^\W_][\w-]*")

# Jamo at the end of a text, as NFKC writes them: no syllable has been composed of them.
_UNFINISHED = re.compile("[\u1100-\u11ff]+$")

# Pictographs. Python calls those of a later version of Unicode unassigned.
_PICTOGRAPHS = ((0x1F300, 0x1FAFF),)

# Letters that look like a Latin letter in most fonts, after `casefold`. The list of UTS 39
# has thousands; these are the Cyrillic, Greek and Armenian ones that keyboards have.
LOOK_ALIKES = str.maketrans(
    "\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445"
    "\u0455\u0456\u0458\u0501\u051b\u051d\u0578\u0585"
    "\u03b1\u03b2\u03b5\u03b7\u03b9\u03ba\u03bc\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7"
    "\u0261\u0131i10",
    "abekmhopctyx" + "sljdqwno" + "abehlkmnoptyx" + "glllo",
)

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_SPACES = frozenset({"Zs", "Zl", "Zp"})


def clean_name(text: str, *, max_length: int = MAX_NAME_LENGTH) -> str:
    """Return `clean_line(text)`, cut at `max_length` characters; empty if nothing is left."""
    return clean_line(text)[:max_length].rstrip()


def require_name(text: str, *, max_length: int = MAX_NAME_LENGTH) -> str:
    """Return `clean_name(text)`. Raises Invalid if nothing is left."""
    name = clean_name(text, max_length=max_length)
    if not name:
        raise Invalid(fields={"name": _("Enter a name with at least one visible character.")})
    return name


def clean_line(text: str) -> str:
    """Return `text` on one line, without invisible, bidirectional and boxed characters.

    Also used for texts that are shown next to a name: the role of a persona, the topic of a room.
    """
    # Line breaks and tabs separate words: replace them by spaces before control characters are
    # removed.
    spaced = re.sub(r"[\t\n\v\f\r\x1c-\x1f\x85]", " ", unicodedata.normalize("NFC", text))
    visible = "".join(_visible(character) for character in spaced)
    return " ".join(_limit_marks(visible).split())


def is_blank(text: str) -> bool:
    """Return True if `text` has no visible character: a name or a message of it shows nothing."""
    return all(_is_invisible(character) for character in text)


def clean_handle(text: str) -> str:
    """Return the handle that `text` denotes, in lower case, or an empty string.

    A handle consists of letters of any script, digits, - and _: the characters of a mention.
    """
    handle = unicodedata.normalize("NFKC", text).strip().removeprefix("@").lower()
    return handle if len(handle) <= MAX_NAME_LENGTH and _HANDLE.fullmatch(handle) else ""


def handle_key(handle: str) -> str:
    """Return the form in which handles are compared: two handles with one key are the same."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", handle).casefold())


def search_key(text: str) -> str:
    """Return the form in which names are searched and sorted: case and width do not count.

    At most MAX_SEARCH_KEY_LENGTH characters: one character of a name can become 18 of its key.
    """
    return " ".join(handle_key(text).split())[:MAX_SEARCH_KEY_LENGTH]


def typed_key(words: str) -> str:
    """Return the `search_key` of what a user has typed so far.

    An input method shows the first letter of a Hangul syllable (a jamo) until the syllable is
    complete. No name contains this letter, so it is left out if other letters precede it.
    """
    key = search_key(words)
    return _UNFINISHED.sub("", key) or key


def is_found_by(key: str, *texts: str) -> bool:
    """Return True if `key`, a `typed_key`, begins a text or a later word of a text."""
    return any(f" {key}" in f" {search_key(text)}" for text in texts)


def look_alike_key(name: str) -> str:
    """Return a form of `name` that is equal for names that readers can confuse.

    Case, accents, spaces, punctuation and invisible characters do not count, and letters of
    different scripts that readers can confuse are equal.
    """
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
    letters = "".join(c for c in plain if unicodedata.category(c)[0] in "LN" and c not in _BLANKS)
    return letters.translate(LOOK_ALIKES).replace("rn", "m")


def tell_apart(speakers: Mapping[S, tuple[str, str]]) -> dict[S, str]:
    """Return a label for each speaker, of its name and handle: the name if it is unique.

    Names that readers can confuse get the handle: `Kim (kim2)`. So do names that look like the
    label of another speaker, or end in a parenthesis: they could be the label of a speaker who is
    not among these. Labels are unique if handles are.
    """
    labels = {
        speaker: f"{name} ({handle})" if _ends_in_parenthesis(name) else name
        for speaker, (name, handle) in speakers.items()
    }
    while True:
        count = Counter(map(look_alike_key, labels.values()))
        confusable = [
            speaker
            for speaker, (name, _handle) in speakers.items()
            if labels[speaker] == name and count[look_alike_key(name)] > 1
        ]
        if not confusable:
            return labels
        for speaker in confusable:
            labels[speaker] = "{} ({})".format(*speakers[speaker])


def _ends_in_parenthesis(name: str) -> bool:
    return unicodedata.normalize("NFKC", name).rstrip().endswith(")")


def handle_for(name: str) -> str:
    """Return a handle derived from `name`; empty if `name` has no letter or digit."""
    words = re.sub(r"[^\w-]+", "-", unicodedata.normalize("NFKC", name).lower())
    return clean_handle(words[:MAX_NAME_LENGTH].strip("-_"))


def initials(name: str, *, max_letters: int = 2) -> str:
    """Return the one or two letters that an avatar shows for `name`."""
    words = name.split()
    if not words:
        return ""
    if _is_hangul(words[0]):
        # A Korean name is a family name of one or two syllables, then a given name of two.
        given = words[0][-2:] if len(words) == 1 and len(words[0]) in (3, 4) else words[0]
        return given[:max_letters]
    if len(words) == 1:
        return words[0][0].upper()
    return (words[0][0] + words[-1][0]).upper()


def _visible(character: str) -> str:
    if unicodedata.category(character) in _SPACES:
        return " "
    if _is_invisible(character) or unicodedata.category(character) == "Me":
        return ""
    return "" if _within(character, _BADGES) else character


def _is_invisible(character: str) -> bool:
    category = unicodedata.category(character)
    if category in _SPACES or character in _BLANKS or _within(character, _BLANK_RANGES):
        return True
    return category in _INVISIBLE and not _within(character, _PICTOGRAPHS)


def _limit_marks(text: str) -> str:
    kept: list[str] = []
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character) == "Mn" else 0
        if marks <= _MAX_MARKS:
            kept.append(character)
    return "".join(kept)


def _within(character: str, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= ord(character) <= last for first, last in ranges)


def _is_hangul(word: str) -> bool:
    return all("가" <= character <= "힣" for character in word)
