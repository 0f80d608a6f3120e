"""Which texts are accepted as the emoji of a reaction."""

import pytest

from accounts.errors import Invalid
from rooms.protocol.emoji import clean_emoji

EMOJI = [
    *["👍", "👍🏽", "❤️", "❤", "🇰🇷", "#️⃣", "1⃣", "🫨", "☺️", "✔", "‼️"],
    "👩\u200d👩\u200d👧\u200d👦",
    "🧑🏽\u200d🚀",
    "🏳️\u200d🌈",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
]
REFUSED = [
    *["a", "ok", "👍👍", "1", "#", "가", ":+1:", "<b>", "🇰", "👍a"],
    *("", "👍 ", " 👍", "👍\n", "\x00", "\ud83d", "\u200d", "\U0001f3fd"),
    "👍" + "\u200d👍" * 20,
]


@pytest.mark.parametrize("emoji", EMOJI)
def test_single_emoji_is_returned_unchanged(emoji: str) -> None:
    assert clean_emoji(emoji) == emoji


@pytest.mark.parametrize("text", REFUSED)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        clean_emoji(text)
