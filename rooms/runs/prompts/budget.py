"""How much of a conversation a model gets, in estimated tokens.

The budget is the same for all models: what is said in a room should not be forgotten because its
persona gets another model, and older text is in the summary.
"""

from collections.abc import Iterable
from math import ceil
from typing import Final, Protocol, TypeVar

TURN_TOKENS: Final = 12_000
"""The tokens of all turns of a prompt. The models of today read at least 32,000 tokens; the rest is
for the persona, the facts about the room, the tools, their results, and the answer."""
MAX_TURNS: Final = 50
MAX_PIN: Final = 280
"""The characters of a pinned message."""
HEADER_TOKENS: Final = 8
"""The first line of a turn, and what a provider adds to each message."""


class Sized(Protocol):
    """Something with a text."""

    @property
    def text(self) -> str: ...


S = TypeVar("S", bound=Sized)


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text has: a quarter for each byte of ASCII, else a third.

    In UTF-8, a letter of Greek or Cyrillic has two bytes, and a syllable of Hangul has three, so it
    counts as one token. The tokenizers of today's models need fewer.
    """
    if text.isascii():
        return ceil(len(text) / 4)
    plain = len(text.encode("ascii", "ignore"))
    others = len(text.encode("utf-8", "replace")) - plain
    return ceil(plain / 4 + others / 3)


class Budget:
    """The turns and tokens that are left while a prompt is built."""

    def __init__(self, tokens: int = TURN_TOKENS, turns: int = MAX_TURNS) -> None:
        self.tokens = tokens
        self.turns = turns

    def spend(self, text: str) -> None:
        """Count a turn that is in the prompt however long it is."""
        self.turns -= 1
        self.tokens -= HEADER_TOKENS + estimate_tokens(text)

    def take(self, newest_first: Iterable[S]) -> list[S]:
        """Return the newest turns that fit, newest first; a turn is never cut."""
        taken: list[S] = []
        for turn in newest_first:
            cost = HEADER_TOKENS + estimate_tokens(turn.text)
            if self.turns < 1 or cost > self.tokens:
                break
            self.turns -= 1
            self.tokens -= cost
            taken.append(turn)
        return taken


def first_words(text: str) -> str:
    """Return the start of a pinned message on one line, at most MAX_PIN characters."""
    return " ".join(text.split())[:MAX_PIN]
