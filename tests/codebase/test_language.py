"""The prose of the repository: comments, docstrings and test names avoid vague words.

Each noun of a sentence is a glossary word (ARCHITECTURE.md) or a symbol of the code. A pronoun such
as "whoever" hides the noun, so this test counts the words that do.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.codebase.test_layout import files
from tests.live import ROOT

MOST_PER_1000: Final = 0.5
VAGUE: Final = re.compile(
    r"\b(whoever|whomever|whatever|whichever|somebody|nobody|everybody|anybody|anew|alike|"
    r"meanwhile|such(?! as)|tells?|(?:is|are|was|were|be|been|being) told|hears?|heard)\b",
    re.IGNORECASE,
)
COMMENTS: Final = {
    ".js": re.compile(r"/\*.*?\*/|(?<![:\"'])//[^\n]*", re.DOTALL),
    ".css": re.compile(r"/\*.*?\*/", re.DOTALL),
    ".html": re.compile(r"\{#.*?#\}|\{% comment %\}.*?\{% endcomment %\}", re.DOTALL),
    ".md": re.compile(r"[^\n]+"),
}
HASH_COMMENT: Final = re.compile(r"(?:^|\s)#[^\n]*", re.MULTILINE)
EXCLUDED: Final = re.compile(
    r"/migrations/|/locale/|^static/vendor/|\.(lock|svg|png|woff2|json|txt)$|test_language\.py$"
)


def prose_of(path: str, text: str) -> Iterator[str]:
    """Yield comments, docstrings and names of test functions of a file."""
    if not path.endswith(".py"):
        pattern = COMMENTS.get(Path(path).suffix, HASH_COMMENT)
        yield from (found[0] for found in pattern.finditer(text))
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and "test_" in node.name:
            yield node.name.replace("_", " ")
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield str(node.value.value)


def vague_words(paths: list[str]) -> tuple[list[str], int]:
    """Return the vague words with their files, and the number of all words."""
    found, words = [], 0
    for path in paths:
        for sentence in prose_of(path, (ROOT / path).read_text(encoding="utf-8")):
            words += len(sentence.split())
            found += [f"{path}: {match[0]}" for match in VAGUE.finditer(sentence)]
    return found, words


def test_prose_names_its_subjects() -> None:
    found, words = vague_words([path for path in files() if not EXCLUDED.search(path)])

    print(f"{len(found)} vague words in {words}: {1000 * len(found) / words:.2f} per 1,000")
    assert words > 40_000
    assert 1000 * len(found) <= MOST_PER_1000 * words, found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", '"""Whoever knocks is looked up next."""\n'),
        ("a.py", "x = 1  # whatever becomes of this\n"),
        ("a.py", "def test_nobody_hears_a_word() -> None: ...\n"),
        ("a.js", "// It is told once.\nconst x = 'http://whoever';\n"),
        ("a.css", "/* Somebody's colour. */\n"),
        ("a.html", "{# Everybody sees this. #}\n"),
        ("a.md", "It connects anew.\n"),
        ("Makefile", "x: # such a file\n"),
    ],
)
def test_vague_word_is_found(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)

    found, words = vague_words([str(tmp_path / name)])

    assert found
    assert words > 0


def test_plain_sentence_has_no_vague_word(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('"""Retry the subscription once a second, such as here."""\n')

    assert vague_words([str(tmp_path / "a.py")])[0] == []
