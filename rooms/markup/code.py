"""Syntax highlighting of code in messages: classes on spans, in bounded time."""

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

# Pygments lexers use regular expressions that backtrack. Within the limits below, these lexers
# finish quickly on hostile text; tests/rooms/markup/test_markup_time.py checks each of them.
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
        "kotlin": "kotlin kt java",  # the Java lexer takes seconds on hostile text
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
MAX_CHARACTERS: Final = 8_000
MAX_LINE_LENGTH: Final = 400
MAX_BACKSLASHES: Final = 400
MAX_SECONDS: Final = 0.015

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


def file_and_language(info: str) -> tuple[str, str, str]:
    """Return the title, the file name and the language from the info string of a code fence.

    Each may be empty. Examples: "python", "python payments/gateway.py", "diff:a.py",
    "payments/gateway.py". Other words are shown in the title, so that no text is hidden.
    """
    info = info.strip()
    found = _FILE.match(info[:200])
    name = found[1] if found else ""
    first = _LANGUAGE.match(info.removeprefix(name))
    language = first[0].lower() if first else ""
    title = name if found and found[0] == info else info
    return title, name, language or _extension(name)


def _extension(name: str) -> str:
    extension = name.rpartition(".")[2].lower()
    return extension if extension in _LEXERS else ""


class Highlighter:
    """Highlights the code of one message; code beyond the limits stays plain."""

    def __init__(self, characters: int = MAX_CHARACTERS) -> None:
        self._characters = characters
        self._seconds = MAX_SECONDS
        self._until = 0.0

    def highlight(self, code: str, language: str, name: str = "") -> str:
        """Return `code` as HTML, highlighted until the time or size limit is reached."""
        lexer = _lexer(language)
        if lexer is None or not self._is_within_limits(code):
            return escape(code)
        inner = _lexer(_extension(name)) if language in ("diff", "patch") else None
        start = time.thread_time()  # the first use of a lexer has loaded it before
        self._until = start + self._seconds
        html = "".join(self._spans(code, lexer) if inner is None else self._diff(code, inner))
        self._seconds -= time.thread_time() - start
        return html

    def _is_within_limits(self, code: str) -> bool:
        self._characters -= len(code)
        return (
            self._characters >= 0
            and code.count("\\") <= MAX_BACKSLASHES
            and max(map(len, code.split("\n"))) <= MAX_LINE_LENGTH
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
        """Return True until the time limit; checked per token, as a span may have thousands."""
        return time.thread_time() <= self._until

    def _diff(self, code: str, inner: Lexer) -> Iterator[str]:
        """Highlight changed lines as a whole, and other lines in the language of the file."""
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
    """Return the lexer of a listed language; Pygments would search its plug-ins for others."""
    known = _LEXERS.get(language)
    if known == "html":  # its scripts and styles: loading their lexers is no time of the code
        for inner in ("javascript", "css"):
            get_lexer_by_name(inner)
    return get_lexer_by_name(known) if known else None
