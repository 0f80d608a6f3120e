"""Which texts are accepted as the emoji of a reaction."""

import pytest

from accounts.errors import Invalid
from rooms.protocol.emoji import clean_emoji, merge_variants

EMOJI = [
    *["👍", "👍🏽", "❤️", "❤", "🇰🇷", "#️⃣", "1⃣", "🫨", "☺️", "✔", "‼️"],
    "👩\u200d👩\u200d👧\u200d👦",
    "🧑🏽\u200d🚀",
    "🏳️\u200d🌈",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
]
REFUSED = [
    *["a", "ok", "👍👍", "1", "#", "가", ":+1:", "<b>", "🇰", "👍a"],
    *("", "👍 ", " 👍", "👍\n", "\x00", "\ud83d", "\u200d", "\U0001f3fd", "\ufe0f", "1\ufe0f"),
    "👍" + "\u200d👍" * 20,
]


def forms(emoji: str) -> list[str]:
    """Return the emoji without and with each variation selector after its characters."""
    bare = emoji.replace("\ufe0f", "")
    selected = ["".join(c + sign for c in bare) for sign in "\ufe0e\ufe0f"]
    return [bare, emoji, bare[0] + "\ufe0f" + bare[1:], bare + "\ufe0f", *selected]


@pytest.mark.parametrize("emoji", EMOJI)
def test_every_form_of_an_emoji_is_the_same_reaction(emoji: str) -> None:
    assert {clean_emoji(form) for form in forms(emoji)} == {emoji.replace("\ufe0f", "")}


def test_skin_tones_are_different_reactions() -> None:
    assert len({clean_emoji(emoji) for emoji in ("👍", "👍🏽", "👍🏿", "👎")}) == 4


def test_reactions_stored_with_selectors_are_merged() -> None:
    stored = {"❤": ["a", "b"], "👍": ["a"], "❤️": ["b", "c"]}

    assert merge_variants(stored) == {"❤": ["a", "b", "c"], "👍": ["a"]}


@pytest.mark.parametrize("text", REFUSED)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        clean_emoji(text)
