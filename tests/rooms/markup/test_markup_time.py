"""No text holds the renderer up: what takes long is shown as it was typed."""

import html as entities
import time
from functools import cache

import pytest
from markdown_it import MarkdownIt

from rooms.markup import DEEPEST, MOST_OF_ONE_SIGN, render
from rooms.markup.code import _LEXERS
from tests.rooms.markup.payloads import EDGE, HOSTILE, PROSE
from tests.rooms.markup.test_markup import Page

SLOWEST = 3.0
"""The most that a text may cost, in renderings of ordinary prose of the greatest length."""


def seconds(text: str) -> float:
    """The processor time of rendering."""
    before = time.thread_time()
    render(text, ["garam"])
    return time.thread_time() - before


@cache
def prose_seconds() -> float:
    """What ordinary prose of the greatest length takes here."""
    return seconds(PROSE)


def cost(text: str) -> float:
    """What rendering costs, in ordinary prose: seconds would judge the machine.

    What seems dear is measured again side by side, for the machine may have been slow just then.
    """
    best = seconds(text) / prose_seconds()
    for _ in range(3):
        if best < SLOWEST:
            break
        best = min(best, seconds(text) / seconds(PROSE))
    return best


def test_the_markdown_library_alone_would_take_too_long() -> None:
    before = time.thread_time()
    MarkdownIt("js-default").render("[" * 40_000)

    assert time.thread_time() - before > SLOWEST * prose_seconds()


@pytest.mark.parametrize("name", [*HOSTILE, *EDGE])
def test_no_text_takes_long(name: str) -> None:
    text = {**HOSTILE, **EDGE}[name]

    assert cost(text) < SLOWEST


@pytest.mark.parametrize("language", sorted(set(_LEXERS.values())))
@pytest.mark.parametrize("between", ["", " ", "\n"])
def test_no_code_takes_long_in_any_language(language: str, between: str) -> None:
    units = (
        "( ) \" \\ \\\" < { /* [ ' ` # a. @ = $ ${ a <a 1 a=b - : ; , a( <!-- <? // ''' 0x a<b ab"
    )

    for unit in units.split():
        line = (unit + between) * (390 // len(unit + between))
        code = (line.rstrip("\n") + "\n") * (7_990 // (len(line) + 1))
        assert cost(f"```{language}\n{code}```") < SLOWEST, unit


def test_what_is_too_much_to_parse_is_still_all_there() -> None:
    text = "[" * (MOST_OF_ONE_SIGN + 1) + " end\nof it"

    assert Page(render(text)).words.strip() == text


def test_what_is_too_deep_to_parse_is_still_all_there() -> None:
    for depth in range(DEEPEST - 3, DEEPEST + 30):
        assert "the end" in entities.unescape(render(">" * depth + " the end"))
