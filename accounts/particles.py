"""Korean particles, whose form depends on the word before them."""

import re
from collections.abc import Mapping
from typing import Final

_PLACEHOLDER: Final = re.compile(
    r"%\((\w+)\)s(이\(가\)|은\(는\)|을\(를\)|과\(와\)|\(으\)로|\(이\))?"
)
_RIEUL: Final = 8


def fill(sentence: str, values: Mapping[str, object]) -> str:
    """Insert named values into a sentence, as `%` does, with the particles that fit them.

    Translators write a particle in both forms behind a placeholder: "%(name)s이(가)". Behind a word
    that does not end with a Hangul syllable, the particle is left out. `fill` in
    `static/maru/translations.js` does the same; tests/accounts/particles.json has cases for both.
    """

    def replace(found: re.Match[str]) -> str:
        if found[1] not in values:
            return found[0]
        value = str(values[found[1]])
        return value + _particle(value, found[2] or "")

    return _PLACEHOLDER.sub(replace, sentence)


def pieces(sentence: str, values: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return the parts of `fill(sentence, values)`: text with "", values with their names."""
    found: list[tuple[str, str]] = []
    at, particle = 0, ""
    for place in _PLACEHOLDER.finditer(sentence):
        value = str(values[place[1]])
        found += [(particle + sentence[at : place.start()], ""), (value, place[1])]
        at, particle = place.end(), _particle(value, place[2] or "")
    return [part for part in [*found, (particle + sentence[at:], "")] if part[0]]


def _particle(word: str, forms: str) -> str:
    """Return the form of `forms`, such as "이(가)", that follows the last syllable of `word`."""
    if not forms or not "가" <= word[-1:] <= "힣":
        return ""
    final = (ord(word[-1]) - ord("가")) % 28  # the number of the final consonant; 0 without one
    if forms == "(으)로":
        return "으로" if final and final != _RIEUL else "로"
    if forms == "(이)":
        return "이" if final else ""
    return forms[0] if final else forms[2]
