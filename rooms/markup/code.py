"""Colours for code in messages: classes on spans, in bounded time."""

import re
import time
from collections.abc import Iterator, Mapping
from functools import cache
from html import escape
from itertools import groupby, takewhile
from typing import Final

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Token, _TokenType

# Lexers are made of regular expressions that backtrack. These ones end soon on hostile text, given
# the limits below; the test tries them all.
_LEXERS: Final[Mapping[str, str]] = {
    name: lexer
    for lexer, names in {
        "bash": "bash sh shell zsh",
        "c": "c h",
        "cpp": "cpp c++ cc hpp",
        "css": "css scss",
        "diff": "diff patch",
        "docker": "docker dockerfile",
        "go": "go golang",
        "html": "html htm django jinja",
        "javascript": "javascript js jsx mjs",
        "json": "json",
        "kotlin": "kotlin kt java",  # the lexer for Java itself takes seconds
        "php": "php",
        "python": "python py python3",
        "ruby": "ruby rb",
        "rust": "rust rs",
        "sql": "sql postgresql sqlite",
        "swift": "swift",
        "toml": "toml",
        "typescript": "typescript ts tsx",
        "xml": "xml svg",
        "yaml": "yaml yml",
    }.items()
    for name in names.split()
}
MOST_CHARACTERS: Final = 8_000
LONGEST_LINE: Final = 400
MOST_BACKSLASHES: Final = 400
MOST_SECONDS: Final = 0.05

_CLASS_OF: Final[Mapping[_TokenType, str]] = {
    Token.Keyword: "code-keyword",
    Token.Operator.Word: "code-keyword",
    Token.Name.Tag: "code-keyword",
    Token.Name.Function: "code-name",
    Token.Name.Class: "code-name",
    Token.Name.Decorator: "code-name",
    Token.Literal.String: "code-string",
    Token.Literal.Number: "code-number",
    Token.Comment: "code-comment",
    Token.Generic.Deleted: "code-removed",
    Token.Generic.Inserted: "code-added",
    Token.Generic.Heading: "code-comment",
    Token.Generic.Subheading: "code-comment",
}
CLASSES: Final = frozenset(_CLASS_OF.values())

_FILE: Final = re.compile(
    r"(?:[\w.+-]+[:\s]+)?(?:(?:title|file|filename)=)?[\"']?([\w@./+-]*\w\.[\w-]+)[\"']?"
)
_LANGUAGE: Final = re.compile(r"[\w+#-]{1,24}")


def file_and_language(info: str) -> tuple[str, str]:
    """Return the file name and the language that the line above a code block names.

    Either may be empty: "python", "python payments/gateway.py", "diff:a.py", "payments/gateway.py".
    """
    info = info.strip()[:200]
    found = _FILE.match(info)
    name = found[1] if found else ""
    first = _LANGUAGE.match(info.removeprefix(name))
    language = first[0].lower() if first else ""
    return name, language or _extension(name)


def _extension(name: str) -> str:
    extension = name.rpartition(".")[2].lower()
    return extension if extension in _LEXERS else ""


class Painter:
    """Paints the code of one message; what goes beyond its means stays plain."""

    def __init__(self) -> None:
        self._characters = MOST_CHARACTERS
        self._until = time.thread_time() + MOST_SECONDS

    def paint(self, code: str, language: str, name: str = "") -> str:
        """Return `code` as HTML, in the colours of its language as far as the means go."""
        lexer = _lexer(language)
        if lexer is None or not self._can_afford(code):
            return escape(code)
        if language in ("diff", "patch"):
            return "".join(self._diff(code, _lexer(_extension(name)), lexer))
        return "".join(self._spans(code, lexer))

    def _can_afford(self, code: str) -> bool:
        self._characters -= len(code)
        return (
            self._characters >= 0
            and code.count("\\") <= MOST_BACKSLASHES
            and max(map(len, code.split("\n"))) <= LONGEST_LINE
        )

    def _spans(self, code: str, lexer: Lexer) -> Iterator[str]:
        done = 0
        tokens = takewhile(self._is_in_time, lexer.get_tokens_unprocessed(code))
        for name, run in groupby(tokens, key=_class_of):
            text = "".join(token[2] for token in run)
            done += len(text)
            yield _span(name, text)
        yield escape(code[done:])

    def _is_in_time(self, token: tuple[int, _TokenType, str]) -> bool:
        """Asked at each token: a lexer may stumble thousands of times within one colour."""
        return time.thread_time() <= self._until

    def _diff(self, code: str, inner: Lexer | None, outer: Lexer) -> Iterator[str]:
        """Whole lines for what has changed; what has not is painted in the file's language."""
        if inner is None:
            yield from self._spans(code, outer)
            return
        for line in code.splitlines(keepends=True):
            if line.startswith(("+", "-")):
                yield _span("code-added" if line[0] == "+" else "code-removed", line)
            elif line.startswith("@@"):
                yield _span("code-comment", line)
            else:
                yield from self._spans(line, inner)


def _span(name: str, text: str) -> str:
    if not name or not text.strip():
        return escape(text)
    return f'<span class="{name}">{escape(text)}</span>'


def _class_of(token: tuple[int, _TokenType, str]) -> str:
    return _class_of_kind(token[1])


@cache
def _class_of_kind(kind: _TokenType) -> str:
    while kind is not Token:
        if kind in _CLASS_OF:
            return _CLASS_OF[kind]
        kind = kind.parent
    return ""


@cache
def _lexer(language: str) -> Lexer | None:
    """Only names of our own list are looked up: the library would search every plug-in."""
    known = _LEXERS.get(language)
    return get_lexer_by_name(known) if known else None
