"""Turns the bytes of a page into text: `python -I page_text.py KIND CHARSET`, page on stdin.

This is a program of its own, because a page can be made to occupy a parser for hours, to fill the
memory, or to exploit a fault of the parser, which is not written in Python. It has LIMITS, opens no
file and no connection, and imports nothing of this project, so that it starts in 30 ms. KIND is
`html` or `text`, CHARSET that of the Content-Type or empty. Prints a JSON array: title and text.
"""

import json
import re
import resource
import sys
from codecs import getincrementaldecoder
from typing import Final

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5
from resiliparse.parse.html import HTMLTree

CPU_SECONDS: Final = 3
LIMITS: Final = (
    (resource.RLIMIT_CPU, CPU_SECONDS),
    (resource.RLIMIT_AS, 256 * 1024 * 1024),
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_NPROC, 0),
    (resource.RLIMIT_CORE, 0),
)
MAX_TITLE: Final = 200
MAX_TEXT: Final = 60_000
"""Characters."""
LEAST_MAIN_TEXT: Final = 200
"""A shorter main element is not the text of the page: another element has it."""

HIDDEN: Final = (
    *("nav", "footer", "aside", "dialog", "template", "[hidden]", '[aria-hidden="true"]'),
    *('[role="navigation"]', '[style*="display:none"]', '[style*="display: none"]'),
    *('[style*="visibility:hidden"]', '[style*="visibility: hidden"]'),
)
"""What is no text of the page, or what no reader sees: that would be words for models only."""
# The names of the WHATWG Encoding Standard include more characters than Python's.
_PYTHON_NAMES: Final = {"euc_kr": "cp949", "shift_jis": "cp932", "gbk": "gb18030"}
_BYTE_ORDER_MARKS: Final = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)


def main(kind: str, charset: str) -> None:
    """Read the page from stdin and print its title and text."""
    for limit, value in LIMITS:
        resource.setrlimit(limit, (value, value))
    page = decode(sys.stdin.buffer.read(), charset)
    # The standard streams are open, and Python has loaded the codec: nothing more is opened.
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    title, text = read_html(page) if kind == "html" else ("", page)
    found = " ".join(title.split())[:MAX_TITLE], clean(text)[:MAX_TEXT]
    sys.stdout.buffer.write(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"))


def decode(data: bytes, charset: str) -> str:
    """Return the text of a page, with U+FFFD for what cannot be decoded (HTML §13.2.3.2)."""
    for mark, name in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace")
    encoding = map_encoding_to_html5(charset, fallback_utf8=False) if charset else None
    if encoding is None:
        try:
            return getincrementaldecoder("utf-8")().decode(data)  # the last character may be cut
        except UnicodeDecodeError:
            encoding = detect_encoding(data, from_html_meta=True) or "utf-8"
    return data.decode(_PYTHON_NAMES.get(encoding, encoding), "replace")


def read_html(page: str) -> tuple[str, str]:
    """Return the title, and the text of the element `main`, or that of the whole page."""
    tree = HTMLTree.parse(page)
    root = tree.document
    main = root.query_selector('main, [role="main"]') if root is not None else None
    text = _text(main.html) if main is not None else ""
    return tree.title or "", text if len(text) >= LEAST_MAIN_TEXT else _text(tree)


def _text(page: str | HTMLTree) -> str:
    # Not `main_content`: its heuristics leave out short lists, and with them facts.
    return extract_plain_text(page, preserve_formatting=True, skip_elements=HIDDEN)


def clean(text: str) -> str:
    """Return the text without more than one empty line at once."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return re.sub(r"\n(?:[ \t]*\n)+", "\n\n", lines).strip()


if __name__ == "__main__":
    main(*sys.argv[1:])
