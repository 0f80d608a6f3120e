"""Validation of the emoji of a reaction: exactly one emoji, and no other text."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

from django.utils.translation import gettext_lazy as _

from accounts.errors import Invalid

MAX_LENGTH: Final = 16

_PICTOGRAPH: Final = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u23cf"
    "\u23e9-\u23f3\u23f8-\u23fa\u24c2\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe\u2600-\u27bf\u2934"
    "\u2935\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\u3030\u303d\u3297\u3299"
    "\U0001f000-\U0001f1e5\U0001f200-\U0001f3fa\U0001f400-\U0001faff]"
)
_ELEMENT: Final = rf"{_PICTOGRAPH}[\U0001f3fb-\U0001f3ff]?"
# The variation selectors for text and for emoji: with and without them, an emoji is the same.
_SELECTORS: Final = re.compile("[\ufe0e\ufe0f]")
# Unicode Technical Standard 51, section 1.4: a sequence joined by ZWJ, a flag of two regional
# indicators, a flag of a region as a tag sequence, or a keycap.
_EMOJI: Final = re.compile(
    rf"{_ELEMENT}(\u200d{_ELEMENT})*"
    "|[\U0001f1e6-\U0001f1ff]{2}"
    "|\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f"
    "|[0-9#*]\u20e3"
)


def clean_emoji(emoji: str) -> str:
    """Return the emoji in Unicode normal form C, without variation selectors.

    Skin tones are kept. Raises Invalid for any other text.
    """
    clean = _without_selectors(emoji)
    if len(clean) > MAX_LENGTH or not _EMOJI.fullmatch(clean):
        raise Invalid(fields={"emoji": _("Choose one emoji.")})
    return clean


def merge_variants(reactions: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the reactions of a message without variation selectors, as older versions stored."""
    merged: dict[str, list[str]] = {}
    for emoji, user_ids in reactions.items():
        users = merged.setdefault(_without_selectors(emoji), [])
        users += [user_id for user_id in user_ids if user_id not in users]
    return merged


def _without_selectors(emoji: str) -> str:
    return _SELECTORS.sub("", unicodedata.normalize("NFC", emoji))
