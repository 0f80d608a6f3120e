"""Rendering takes bounded time; text beyond the limits is shown without formatting."""

import html as entities
import sys
import time
from functools import cache
from itertools import product
from types import FrameType

import pytest
from markdown_it import MarkdownIt

from rooms.markup import MAX_NESTING, render
from rooms.markup.code import _LEXERS
from rooms.markup.work import MAX_OF_ONE_SIGN, MAX_STEPS
from tests.rooms.markup.payloads import EDGE, HOSTILE, PROSE
from tests.rooms.markup.test_markup import Page

LONGEST = PROSE[:16_000]
SLOWEST = 1.4
"""The maximum cost of a text, in renderings of ordinary Markdown of 16,000 characters.

One of these takes 36 ms of a 2.8 GHz Xeon, so that 1.4 of them are 50 ms.
"""

GROWTH = 2.7
"""The maximum ratio of the work for a text of twice the length: 2 if the work is linear."""


def seconds(text: str) -> float:
    """Return the CPU time of rendering, in seconds."""
    before = time.thread_time()
    render(text, ["garam"])
    return time.thread_time() - before


@cache
def prose_seconds() -> float:
    """Return the CPU time of ordinary Markdown of maximum length on this machine."""
    return min(seconds(LONGEST) for _ in range(3))


def cost(text: str) -> float:
    """Return the cost of rendering relative to prose: seconds would depend on the machine.

    A text above the limit is measured again together with prose, because the machine may have been
    slow.
    """
    best = seconds(text) / prose_seconds()
    for _ in range(5):
        if best < SLOWEST:
            break
        best = min(best, seconds(text) / seconds(LONGEST))
    return best


def test_markdown_library_alone_exceeds_the_time_limit() -> None:
    before = time.thread_time()
    MarkdownIt("js-default").render("[" * 40_000)

    assert time.thread_time() - before > SLOWEST * prose_seconds()


@pytest.mark.parametrize("name", [*HOSTILE, *EDGE])
def test_hostile_text_renders_within_the_time_limit(name: str) -> None:
    text = {**HOSTILE, **EDGE}[name]

    assert cost(text) < SLOWEST


@pytest.mark.parametrize("language", sorted(set(_LEXERS.values())))
@pytest.mark.parametrize("between", ["", " ", "\n"])
def test_hostile_code_renders_within_the_time_limit(language: str, between: str) -> None:
    units = (
        "( ) \" \\ \\\" < { /* [ ' ` # a. @ = $ ${ a <a 1 a=b - : ; , a( <!-- <? // ''' 0x a<b ab"
    )

    for unit in units.split():
        line = (unit + between) * (390 // len(unit + between))
        code = (line.rstrip("\n") + "\n") * (7_990 // (len(line) + 1))
        assert cost(f"```{language}\n{code}```") < SLOWEST, unit


# Signs that begin, end or continue blocks and inline elements of Markdown.
# fmt: off
STARTS = ["-|-\n", "|a|b\n|-|-\n", "> ", "\n> a\n", "- ", "\n- a", "\n1. ", "\n    ", "\n\n",
          "```\n", "# "]
ENDS = ["-|-", "a|b\n", "[a](", "*a", "**_", "~~", "`", "<http://a>", "&amp;\\|", "@a !["]
# fmt: on


def calls(text: str) -> int:
    """Return the number of function calls of rendering, which is the same on every machine."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        render(text)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("start", STARTS)
def test_work_grows_in_proportion_to_repeated_text(start: str) -> None:
    for unit, prefix in product((start, *(start + end for end in ENDS)), ("", "> ")):
        once, twice = (
            "\n".join(prefix + line for line in (unit * (size // len(unit))).split("\n"))
            for size in (240, 480)
        )
        for tail in ("", f"\n{prefix}|1|2|3|"):  # a row that is wider than each table before it
            more, less = (text.rstrip("\n") + tail for text in (twice, once))
            assert calls(more) <= GROWTH * calls(less), (prefix, unit, tail)


def test_paragraph_beyond_the_limits_is_complete_and_others_stay_formatted() -> None:
    text = "[" * (MAX_OF_ONE_SIGN + 1) + " end\nof it"
    html = render(f"**a**\n\n{text}\n\n```\n{text}\n```\n\n**b**")

    assert Page(html).words.count(text) == 2
    assert "<strong>a</strong>" in html
    assert "<strong>b</strong>" in html


def test_text_beyond_the_limit_of_steps_is_complete() -> None:
    html = render("**a** _b_\n\n" * MAX_STEPS)

    assert Page(html).words.count("b") == MAX_STEPS


def test_text_beyond_the_nesting_limit_is_complete() -> None:
    for depth in range(MAX_NESTING - 3, MAX_NESTING + 30):
        assert "the end" in entities.unescape(render(">" * depth + " the end"))
