"""What counts as one emoji, and what does not."""

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
NO_EMOJI = [
    *["a", "ok", "👍👍", "1", "#", "가", ":+1:", "<b>", "🇰", "👍a"],
    *("", "👍 ", " 👍", "👍\n", "\x00", "\ud83d", "\u200d", "\U0001f3fd"),
    "👍" + "\u200d👍" * 20,
]


@pytest.mark.parametrize("emoji", EMOJI)
def test_one_emoji_passes_as_it_is(emoji: str) -> None:
    assert clean_emoji(emoji) == emoji


@pytest.mark.parametrize("text", NO_EMOJI)
def test_whatever_else_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        clean_emoji(text)
