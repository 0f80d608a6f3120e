"""Mentions of people and personas in the text of a message.

`find_mentions` decides what a mention is: the chips on the page and the personas that answer come
from its result. The composer finds the mentions of an unsent text with a copy of these rules
(`static/rooms/composer/mentions.js`), because it does not ask the server while a user writes.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape, unescape
from itertools import islice
from typing import Final

from markdown_it.rules_core import StateCore
from markdown_it.token import Token

from rooms.markup.characters import script
from rooms.markup.suffixes import (
    MAX_LENGTH,
    is_absorbed_ending,
    is_japanese_suffix,
    is_korean_suffix,
)

MAX_HANDLE_LENGTH: Final = 40

SIGNS: Final = "@\uff20\ufe6b"
"""The commercial at, and its full-width and small forms."""

MAX_CHIPS: Final = 100
"""The maximum number of mentions in a message; further ones stay text and ask no persona."""

MAX_SIGNS: Final = 300
"""The maximum number of signs that are examined, for messages that consist of signs."""

CHIP_OPEN: Final = '<span class="mention" data-handle='
"""The start of a chip, up to the handle in quotes. The text of a message cannot contain it."""

ADDRESSED_OPEN: Final = f'{CHIP_OPEN}"">'
ADDRESSED_CLOSE: Final = "</span>"
"""The tags around text that may have mentions, until the handles of the room are known."""

_ADDRESSED: Final = re.compile(f"{ADDRESSED_OPEN}([^<]*){ADDRESSED_CLOSE}")
_SIGN: Final = re.compile(f"[{SIGNS}]")
_ASCII_WORD: Final = re.compile(
    r"[a-z0-9_-]{0,64}(?![a-z0-9_-]|[^\x00-\x7f])", re.IGNORECASE | re.ASCII
)
_MAX_WORD: Final = MAX_HANDLE_LENGTH + MAX_LENGTH
_CONTEXT: Final = 300
# The scripts that write words without spaces between them: "请@bot看" is a mention.
_UNSPACED: Final = frozenset({"han", "kana"})
_DOMAIN_PATH: Final = re.compile(r"(?:[\w-]+\.)+[a-z]{2,}(?:[/?#]\S*)?[/?#]", re.IGNORECASE)
# "@bot.example" and "@bot@mail.example" are names of something else.
_DOMAIN_REST: Final = re.compile(rf"\.[a-z0-9]|[{SIGNS}][a-z0-9-]+\.[a-z0-9]", re.IGNORECASE)
# Consonants and vowels that are not part of a syllable: "ㅋㅋ", "ㅠㅠ", as NFKC writes them.
_JAMO: Final = re.compile("[\u1100-\u11ff]")


@dataclass(frozen=True, slots=True)
class Mention:
    """`text[start:end]` is the sign and the handle as written; `handle` is the known handle."""

    start: int
    end: int
    handle: str


def fold(handle: str) -> str:
    """Return the form in which handles are compared: NFKC, without case."""
    return unicodedata.normalize("NFKC", handle).casefold()


def by_folded(handles: Iterable[str]) -> dict[str, str]:
    """Return a mapping from the folded form of each handle to the handle."""
    return {fold(handle): handle for handle in handles if handle}


def mark_addressed(state: StateCore) -> None:
    """markdown-it rule: mark the text that may have mentions.

    Quotes repeat what was said to others, and links lead elsewhere: neither mentions anybody.
    """
    quotes = 0
    for block in state.tokens:
        if block.type in ("blockquote_open", "blockquote_close"):
            quotes += block.nesting
        elif block.type == "inline" and block.children and not quotes:
            _mark(block.children)


def _mark(tokens: list[Token]) -> None:
    links = 0
    for token in tokens:
        if token.type in ("link_open", "link_close"):
            links += token.nesting
        elif token.type == "text" and not links and has_sign(token.content):
            token.type = "addressed"


def has_sign(text: str) -> bool:
    """Return True if `text` has a sign that may begin a mention."""
    return _SIGN.search(text) is not None


def keep_escaped_signs(state: StateCore) -> None:
    """markdown-it rule: take an escaped "@" out of the text, so that it is no mention."""
    for block in state.tokens:
        for token in block.children or ():
            if token.type == "text_special" and token.content in SIGNS:
                token.type = "escaped_sign"


def add_chips(html: str, handles: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    """Return `html` with a chip for each mention, and the handles in the order of their mentions.

    `html` has tags around the text that may have mentions. At most MAX_CHIPS chips are added.
    """
    known = by_folded(handles)
    mentioned: list[str] = []
    signs = MAX_SIGNS

    def chips(addressed: re.Match[str]) -> str:
        nonlocal signs
        if not signs:
            return addressed[1]
        text, parts, done = unescape(addressed[1]), [], 0
        examined, signs = signs, max(0, signs - len(_SIGN.findall(text)))
        for mention in find_mentions(text, known, examined):
            if len(mentioned) == MAX_CHIPS:
                break
            mentioned.append(mention.handle)
            words = escape(text[mention.start : mention.end], quote=False)
            chip = f'{CHIP_OPEN}"{escape(mention.handle)}">{words}</span>'
            parts += [escape(text[done : mention.start], quote=False), chip]
            done = mention.end
        return "".join([*parts, escape(text[done:], quote=False)])

    return _ADDRESSED.sub(chips, html), tuple(dict.fromkeys(mentioned))


def find_mentions(text: str, known: Mapping[str, str], signs: int = MAX_SIGNS) -> Iterator[Mention]:
    """Yield the mentions in `text`, which is text of a message without Markdown.

    `known` is the result of `by_folded`; only the first `signs` signs are examined. The longest
    known handle is mentioned, if what follows it cannot belong to a longer name. A mention may
    directly follow another: "@bot님@나리".
    """
    end_of_mention = -1
    for sign in islice(_SIGN.finditer(text), signs):
        start = sign.start()
        if start != end_of_mention and not _may_begin(text, start):
            continue
        word, ends = _folded_word(text, start + 1)
        length = _handle_length(word, known, text[ends[-1] : ends[-1] + _CONTEXT])
        if length:
            yield Mention(start, ends[length], _handle_at(word, length, known))
            end_of_mention = ends[-1]


def _may_begin(text: str, start: int) -> bool:
    """Return False if the sign is inside a word, a mail address or the path of a web address."""
    last = text[start - 1] if start else " "
    if last.isspace():
        return True
    if last in SIGNS:
        return False
    before = text[max(0, start - _CONTEXT) : start]
    if last in "/?#":
        run = before.split()[-1]
        return not _DOMAIN_PATH.fullmatch(run.lstrip("([{<\"'"))
    if last == "_":
        return not before.rstrip("_")[-1:].isalnum()
    is_in_word = last.isalnum() or unicodedata.category(last)[0] == "M"
    return not is_in_word or script(last) in _UNSPACED


def _folded_word(text: str, start: int) -> tuple[str, Sequence[int]]:
    """Return the folded word at `start`, and for each of its prefixes the end in `text`.

    A word consists of the characters of handles, and of the marks on them. Each letter is folded
    together with its marks: decomposed Hangul is one letter.
    """
    if plain := _ASCII_WORD.match(text, start):
        return plain[0].lower(), range(start, plain.end() + 1)
    word, ends = "", [start]
    at = start
    while at < len(text) and len(word) < _MAX_WORD:
        end = at + 1
        while end < len(text) and _continues_letter(text[end]):
            end += 1
        folded = fold(text[at:end])
        if not all(_is_of_word(character) for character in folded):
            break
        word += folded
        ends += [end] * len(folded)
        at = end
    return word, ends


def _continues_letter(character: str) -> bool:
    """Return True for a combining mark, and for a vowel or final consonant of decomposed Hangul."""
    if character.isascii():
        return False
    if "\u1160" <= character <= "\u11ff" or "\ud7b0" <= character <= "\ud7ff":
        return True
    return unicodedata.combining(unicodedata.normalize("NFKD", character)[0]) != 0


def _is_of_word(character: str) -> bool:
    return character.isalnum() or character in "-_" or unicodedata.category(character)[0] == "M"


def _handle_length(word: str, known: Mapping[str, str], after: str) -> int:
    """Return the length of the longest known handle at the start of `word`; 0 if there is none."""
    for length in range(min(len(word), MAX_HANDLE_LENGTH), 0, -1):
        if word[:length] in known and _may_end(word[length - 1], word[length:], after):
            return length
        if _absorbing(word, length) in known:
            return length
    return 0


def _handle_at(word: str, length: int, known: Mapping[str, str]) -> str:
    return known.get(word[:length]) or known[_absorbing(word, length)]


def _absorbing(word: str, length: int) -> str:
    """Return the handle whose last syllable has absorbed the consonant of an ending, or "".

    "나립니다" is "나리" with "ㅂ니다": here, `length` is 2.
    """
    if not "가" <= word[length - 1] <= "힣":
        return ""
    syllable = unicodedata.normalize("NFD", word[length - 1])
    if len(syllable) != 3 or not is_absorbed_ending(syllable[2] + word[length:]):
        return ""
    return word[: length - 1] + unicodedata.normalize("NFC", syllable[:2])


def _may_end(last: str, rest: str, after: str) -> bool:
    """Return True if a handle that ends with `last` may be followed by `rest` of its word.

    `after` is the text behind the word.
    """
    rest = _JAMO.split(rest, maxsplit=1)[0].rstrip("-_")  # "@나리ㅋㅋ", "@data_bot_"
    if not rest:
        return not _DOMAIN_REST.match(after)
    if rest[0] == "_":
        rest = rest.lstrip("_")
    if rest[0].isascii() or unicodedata.category(rest[0])[0] == "M":
        return False
    own, other = script(last), script(rest[0])
    if own != other:
        return True
    if own == "hangul":
        return is_korean_suffix(rest)
    return own in _UNSPACED and is_japanese_suffix(rest)
