"""Emphasis and strikethrough beside Chinese, Japanese and Korean.

CommonMark decides by the characters around "**" whether it opens or closes emphasis, and takes for
granted that words are separated by spaces. In "**마크다운(Markdown)**을" the second "**" stands
between ")" and a letter, and would not close. This module follows the amendment of
https://github.com/tats-u/markdown-cjk-friendly (specification.md): beside a Chinese, Japanese or
Korean character, a punctuation mark does not prevent a delimiter from opening or closing.
"""

from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.common.utils import isMdAsciiPunct, isPunctChar, isWhiteSpace
from markdown_it.parser_inline import ParserInline
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Scanned
from markdown_it.token import Token
from markdown_it.utils import EnvType

from rooms.markup.characters import is_cjk, is_variation_selector


class CjkFriendlyInline(ParserInline):
    """The inline parser of markdown-it, with the state below."""

    def parse(self, src: str, md: MarkdownIt, env: EnvType, tokens: list[Token]) -> list[Token]:
        state = _State(src, md, env, tokens)
        self.tokenize(state)
        for rule in self.ruler2.getRules(""):
            rule(state)
        return state.tokens


class _Beside(NamedTuple):
    """The character on one side of a run of delimiters; the edge of the text counts as a space."""

    is_space: bool
    is_punctuation: bool
    is_cjk: bool


class _State(StateInline):
    def scanDelims(self, start: int, canSplitWord: bool) -> Scanned:  # noqa: N802, N803, FBT001 # name and arguments of markdown-it
        marker = self.src[start]
        end = start
        while end < self.posMax and self.src[end] == marker:
            end += 1
        before = _beside(self._character_before(start))
        after = _beside(self.src[end] if end < self.posMax else " ")
        left_flanking = _is_flanking(after, before)
        right_flanking = _is_flanking(before, after)
        can_open = left_flanking and (canSplitWord or not right_flanking or before.is_punctuation)
        can_close = right_flanking and (canSplitWord or not left_flanking or after.is_punctuation)
        return Scanned(can_open, can_close, end - start)

    def _character_before(self, start: int) -> str:
        while start > 0 and is_variation_selector(self.src[start - 1]):
            start -= 1
        return self.src[start - 1] if start > 0 else " "


def _beside(character: str) -> _Beside:
    return _Beside(
        is_space=isWhiteSpace(ord(character)),
        is_punctuation=isMdAsciiPunct(ord(character)) or isPunctChar(character),
        is_cjk=is_cjk(character),
    )


def _is_flanking(inside: _Beside, outside: _Beside) -> bool:
    """Return True if a run between `outside` and `inside` may begin (or end) emphasis.

    A space inside prevents it, and so does punctuation inside that follows a letter, unless one of
    them is Chinese, Japanese or Korean.
    """
    if inside.is_space:
        return False
    if not inside.is_punctuation or inside.is_cjk:
        return True
    return outside.is_space or outside.is_punctuation or outside.is_cjk
