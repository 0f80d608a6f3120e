"""Steps and the arguments of calls: the server and the scripts show the same."""

import json
import random
import re
import shutil
import subprocess
import unicodedata
from typing import Final
from uuid import UUID

import msgspec
import pytest
from django.utils import translation
from msgspec import UNSET, UnsetType

from agents.untrusted_text import visible
from maru.assets.words import build
from rooms.models import CallState, Denial
from rooms.pages.acting.argument_rows import argument_rows
from rooms.pages.acting.step_lines import duration_words, step_lines
from rooms.pages.layout import RULES_FOR_SCRIPTS
from rooms.protocol.call_words import words_for_scripts
from rooms.protocol.payloads import Step
from tests.live import ROOT

ANSWERS: Final[list[int | UnsetType]] = [UNSET, 0, 1, 2]


def steps_of(generator: random.Random) -> list[Step]:
    """Return steps of a clock of ours, of another server's clock, and of another tool."""
    clocks: list[tuple[str, str, bool | UnsetType]]
    clocks = [("clock", "Date and time", True), ("clock", "Their clock", UNSET)]
    tools = [generator.choice([*clocks, ("tool", f"Tool {n}", UNSET)]) for n in range(8)]
    return [
        Step(
            call=UUID(int=number),
            tool=tool,
            title=title,
            own=own,
            answers=generator.choice(ANSWERS),
            state=generator.choice(CallState.values),
            ms=generator.choice(
                [None, 0, 49, 50, 250, 350, 999, 59_949, 59_950, 61_000, 4_000_000]
            ),
            result=generator.choice([None, "14 found", "timeout"]),
            denial=generator.choice(DENIALS),
        )
        for number, (tool, title, own) in enumerate(tools[: generator.randrange(8)])
    ]


TITLE_OF_CLOCK: Final = {"en": "Date and time", "ko": "날짜와 시간"}
DENIALS: Final[list[str | UnsetType]] = [UNSET, *Denial.values]
ARGUMENTS: Final = (
    "{}",
    '{"a": 1}',
    ' {"service" : "payments", "value":12345678901234567890, "on": true, "none": null} ',
    '{"deep": {"b": [1, 2, {"c": "}"}]}, "list": [], "text": "with \\"quotes\\" and \\\\ and }"}',
    '{"two": 1, "two": 2}',
    '{"number": 1.0e5, "other": -0.10}',
    '{"hidden": "a\\u202eb\\u200bc\\u0000", "tag": "\\udb40\\udc41", "half": "\\ud800"}',
    '{"ignored": "pay\ufe0f\U000e0100\u034f\u180b\u115f\u3164\uffa0\u2800"}',
    '{"한글": "가나다\\n라마바", "emoji": "👩‍👩‍👧"}',
    json.dumps({"long": "x" * 5_000, "after": "not shown"}),
    json.dumps({"lines": "\n".join("abcdefghij"), "after": 1}),
    json.dumps({f"name {number}": number for number in range(12)}),
    json.dumps({"exact": "\n".join("12345678")}),
    json.dumps({"exact": "\n".join("12345678"), "after": 1}),
    json.dumps({"wide": "가" * 64, "wider": "👍" * 65}),
    "[1, 2]",
    '"text"',
    "no JSON",
    "",
    '{"cut": ',
)


@pytest.mark.parametrize("language", ["en", "ko"])
def test_scripts_show_steps_and_arguments_as_the_server_does(language: str) -> None:
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed.")
    words = build(f"words.{language}.js")
    translation.activate(language)
    generator = random.Random(7)
    timelines = [(steps_of(generator), generator.random() < 0.5) for _ in range(200)]

    done = subprocess.run(
        ["node", str(ROOT / "tests" / "js" / "acting_results.js")],  # found on the path
        input=json.dumps(
            {
                "words": words,
                "layout": RULES_FOR_SCRIPTS,
                "calls": words_for_scripts(),
                "steps": [
                    {"steps": msgspec.to_builtins(steps), "done": done} for steps, done in timelines
                ],
                "arguments": ARGUMENTS,
            }
        ),
        capture_output=True,
        text=True,
        check=True,
    )

    found = json.loads(done.stdout)
    lines = [step_lines(steps, done=is_done) for steps, is_done in timelines]
    assert found["lines"] == [
        {
            "rows": [[row.state, row.sign, row.title, row.note] for row in each.rows],
            "fold": each.fold,
        }
        for each in lines
    ]
    assert {bool(each.fold) for each in lines} == {True, False}
    titles = {row.title for each in lines for row in each.rows}
    assert titles >= {TITLE_OF_CLOCK[language], "Their clock", "Tool 0"}
    for text, rows in zip(ARGUMENTS, found["rows"], strict=True):
        shown = argument_rows(text)
        assert (rows["rows"], rows["is_cut"]) == ([*map(list, shown.rows)], shown.is_cut), text
    # Node.js may know more characters than Python; those without a look are reserved in advance.
    reserved = {*range(0xFFF0, 0xFFF9), *range(0xE0000, 0xE1000), 0x2065}
    known = {n for n in range(0x110000) if unicodedata.category(chr(n)) != "Cn"} | reserved
    assert known & set(found["escaped"]) == {n for n in known if visible(chr(n)) != chr(n)}


def test_arguments_are_shown_exactly_or_marked_as_cut() -> None:
    number = argument_rows('{"n": 12345678901234567890}').rows
    hidden = argument_rows('{"path": "a\\u202eb"}').rows

    assert number == [("n", "12345678901234567890")]
    assert hidden == [("path", "a\\u202eb")]
    assert argument_rows(json.dumps({"long": "x" * 5_000})).is_cut


@pytest.mark.parametrize(
    "character",
    "\u00ad\u034f\u115f\u1160\u17b4\u180b\u180f\u200b\u202e\u2800\u3164"
    "\ufe00\ufe0f\uffa0\U000e0001\U000e0100\U000e01ef",
)
def test_character_without_a_look_is_escaped(character: str) -> None:
    assert re.fullmatch(r"a\\u[0-9a-f{}]+b", visible(f"a{character}b"))


def test_duration_is_in_seconds_until_a_minute() -> None:
    assert [duration_words(ms) for ms in (0, 250, 8_000, 62_000, 3_723_000)] == [
        *("", "0.3 s", "8 s", "1:02", "1:02:03"),
    ]
