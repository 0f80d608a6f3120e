"""What somebody may react with: one emoji, and so nothing that could be read as a text."""

import re
import unicodedata
from typing import Final

from django.utils.translation import gettext_lazy as _

from accounts.errors import Invalid

LONGEST: Final = 16

_PICTURE: Final = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u23cf"
    "\u23e9-\u23f3\u23f8-\u23fa\u24c2\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe\u2600-\u27bf\u2934"
    "\u2935\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\u3030\u303d\u3297\u3299"
    "\U0001f000-\U0001f1e5\U0001f200-\U0001f3fa\U0001f400-\U0001faff]"
)
_ELEMENT: Final = rf"{_PICTURE}\ufe0f?[\U0001f3fb-\U0001f3ff]?\ufe0f?"
# Unicode Technical Standard 51: pictures that are joined, a flag of two letters, a flag of a region
# by its name in tags, or a key.
_EMOJI: Final = re.compile(
    rf"{_ELEMENT}(\u200d{_ELEMENT})*"
    "|[\U0001f1e6-\U0001f1ff]{2}"
    "|\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f"
    "|[0-9#*]\ufe0f?\u20e3"
)


def clean_emoji(emoji: str) -> str:
    """Return an emoji in normal form; raises Invalid for whatever else it is."""
    clean = unicodedata.normalize("NFC", emoji)
    if len(clean) > LONGEST or not _EMOJI.fullmatch(clean):
        raise Invalid(fields={"emoji": _("Choose one emoji.")})
    return clean
