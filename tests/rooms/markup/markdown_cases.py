"""Texts with the HTML of the server, for the tests of the page's own Markdown parser.

`python -m tests.rooms.markup.markdown_cases` writes tests/js/markdown/cases.json again.
"""

import json
from pathlib import Path
from typing import Final

from rooms.markup import render
from tests.live import ROOT
from tests.rooms.markup.payloads import LOADING, SCRIPTS, UNLINKED
from tests.rooms.markup.test_as_typed import ADDRESSES, EMPTY, PUNCTUATED

FILE: Final = ROOT / "tests" / "js" / "markdown" / "cases.json"

ANSWERS: Final = Path(__file__).with_name("answers.txt").read_text("utf-8").split("\n%%\n")
"""Texts as models write them; a line of "%%" stands between two."""

TEXTS: Final = [
    *ANSWERS,
    *SCRIPTS,
    *UNLINKED,
    *LOADING,
    *ADDRESSES,
    *EMPTY,
    *(f"것은 {sign}{words}{sign}을" for words in PUNCTUATED for sign in ("**", "~~", "*")),
]


def cases() -> str:
    """Return the texts with their HTML as JSON; `plain` marks those that are shown as typed."""
    made = [{"text": text, "html": render(text)} for text in dict.fromkeys(TEXTS)]
    for one in made:
        if 'class="plain-text"' in one["html"]:
            one["plain"] = "yes"
    lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in made)
    return f"[\n{lines}\n]\n"


if __name__ == "__main__":
    FILE.write_text(cases(), encoding="utf-8")
