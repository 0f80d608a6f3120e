"""The HTML of a message is bounded for every text."""

from itertools import product

import pytest

from rooms.markup import html_limit, parse
from rooms.markup.mentions import MAX_CHIPS

SIZE = 16_000
HANDLES = ["a", "가" * 40]
CHIP = len(f'<span class="mention" data-handle="{HANDLES[1]}"></span>'.encode())

# fmt: off
UNITS = [
    "<a@b.c>", "<a:b>", "<http://a>", "http://a ", "[](http://a)", "[a](http://b)",
    "`a`", "*a*", "**a**", "~~a~~", "***a***", "_a_ ", "&", "<", ">", '"', "'", "\u00a0", "&nbsp;",
    "&Abreve;", "&#1;", "\n", " \\\n", "a\n", "a\n\n", "#\n", "# a\n", "---\n", "***\n", "> a\n\n",
    ">>>>a\n\n", "- a\n", "- \n", "1. a\n", "3. a\n\n", "- - - a\n", "> - > - a\n\n", "    a\n\n",
    "```\na\n```\n", "``` x\n", "|a|\n|-|\n", "|a|\n|-|\n|b|\n\n", "a|b\n-|-\n\n", "@a ", "(@a)",
    f"@{'가' * 40} ", "\\*", "<br>", "[a]: b\n", "![a](http://b)", "\ud800", "\u202e",
    "https://가.가 ", "[a](mailto:b@c)",
]
CODE = ["a=1;", "if a:\n", "1 ", "'a' ", "def a\n", "<a b='c'>", "/**/", "{a:1}", "a\n+b\n-c\n"]
# fmt: on
LANGUAGES = ["python", "js", "html", "css", "diff", "bash", "sql", "rust", "yaml", "php"]


def filled(unit: str, before: str = "") -> str:
    return (before + unit * (SIZE // len(unit)))[:SIZE]


TEXTS = {
    **{repr(unit): filled(unit) for unit in UNITS},
    **{f"{a!r} {b!r}": filled(a + b) for a, b in product(UNITS[::4], UNITS[1::4])},
    **{f"{lang} {c!r}": filled(c, f"```{lang}\n") for lang, c in product(LANGUAGES, CODE)},
    "padded rows": filled("a\n", "|" + "a|" * 40 + "\n" + "|-" * 40 + "|\n"),
    "cells": filled("|a" * 20 + "|\n", "|a" * 20 + "|\n" + "|-" * 20 + "|\n"),
    "aligned cells": filled("|a" * 9 + "|\n", "|a" * 9 + "|\n" + "|-:" * 9 + "|\n"),
}


@pytest.mark.parametrize("size", [16, 400, SIZE])
def test_html_of_every_text_is_bounded(size: int) -> None:
    for name, text in TEXTS.items():
        parsed, stored = parse(text[:size]), text[:size].replace("\ud800", "\ufffd")
        plain = 5 * len(stored.encode()) + 200  # "&" becomes "&amp;"
        limit = max(html_limit(stored), plain)

        html = parsed.in_room(lambda: HANDLES).html
        assert len(html.encode()) <= limit + MAX_CHIPS * CHIP, name


def test_ordinary_code_links_and_tables_stay_formatted() -> None:
    function = "def total(items: list[int]) -> int:\n    return sum(items)\n"
    code = f"```python\n{function * 60}```"
    links = "- [the report](https://a.example/reports/2026)\n" * 100
    table = "| name | value |\n|---|---|\n" + "| total | 1,000 |\n" * 200

    assert "code-keyword" in parse(code).html
    assert parse(links).html.count("<a ") == 100
    assert parse(table).html.count("<tr>") == 201
