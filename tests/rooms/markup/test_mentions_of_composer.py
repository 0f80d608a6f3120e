"""The composer finds the mentions of a text that the server finds when the message is posted."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from rooms.markup import parse, suffixes
from tests.live import ROOT

TABLE: Final[dict[str, Any]] = json.loads((Path(__file__).parent / "mentions.json").read_text())
SCRIPT: Final = ROOT / "static" / "rooms" / "composer" / "suffixes.js"
LISTS: Final = (
    *("TITLES", "PARTICLES", "LAST", "ENDINGS", "FUSED"),
    *("PAST_ENDINGS", "PAST_STEMS", "JAPANESE"),
)


def words_of(name: str) -> list[str]:
    """Return the words of a list in the script."""
    found = re.search(rf"^const {name} = words\(`([^`]*)`\);", SCRIPT.read_text(), re.MULTILINE)
    assert found is not None
    return found[1].split()


@pytest.mark.parametrize(("text", "expected"), TABLE["cases"])
def test_server_finds_the_mentions(text: str, expected: list[str]) -> None:
    assert set(parse(text).in_room(lambda: TABLE["handles"]).mentioned) == set(expected)


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_suffixes_are_those_of_the_script(name: str) -> None:
    assert words_of(name) == getattr(suffixes, f"_{name}").split()


def test_endings_that_need_a_stem_are_those_of_the_script() -> None:
    assert set(words_of("NEEDING_STEM")) == suffixes._NEEDING_STEM
