"""Links: addresses in the text become links, and every link shows the host that it leads to."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from markdown_it.common.normalize_url import normalizeLink
from markdown_it.common.utils import isMdAsciiPunct
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from rooms.markup.characters import is_cjk_punctuation, script
from rooms.markup.clean import SCHEMES
from rooms.markup.work import spend

MAX_ADDRESS: Final = 2_048

_MAIL_ADDRESS: Final = re.compile(r"[^\s/:@]+@[^\s/:@]+")
_SCHEME: Final = re.compile(r"(?<![^\W_])https?\Z", re.IGNORECASE)
_HOST: Final = re.compile(r"[^/?#]*")
_IDN_REST: Final = re.compile(r"[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}(?::\d+)?\Z")
_PORT: Final = re.compile(r":\d*")
_ENTITY: Final = re.compile(r"&(?:#\w{1,8}|[a-z]\w{1,31});", re.IGNORECASE)
_END_OF_SENTENCE: Final = ".,:;!?…"
_NEVER_IN_ADDRESS: Final = frozenset("<>\"'`")
_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}
_DELIMITERS: Final = "*_~"


def bare_link(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 # the signature of markdown-it
    """markdown-it rule: make a link of an address, before its "_" and "*" become emphasis.

    The rule stands at the colon, because the text rule of markdown-it stops there. An address that
    may not be a link is added as text.
    """
    if state.linkLevel or not state.src.startswith("://", state.pos):
        return False
    scheme = _SCHEME.search(state.src[max(0, state.pos - 6) : state.pos])
    if scheme is None or not (silent or state.pending.endswith(scheme[0])):
        return False
    start = state.pos - len(scheme[0])
    address, end = _address(state, start)
    if end <= state.pos + len("://"):
        return False
    if not silent:
        href = normalizeLink(address)
        if _host(href):
            state.pending = state.pending[: -len(scheme[0])]
            state.push("link_open", "a", 1).attrs = {"href": href}
            state.push("text", "", 0).content = address
            state.push("link_close", "a", -1)
        else:
            state.append_pending(address[len(scheme[0]) :])
    state.pos = end
    return True


def _address(state: StateInline, start: int) -> tuple[str, int]:
    """Return the address that begins at `start`, and its end in the source.

    Escapes are resolved in the address: editors write "a\\_b" for "a_b".
    """
    src, limit = state.src, min(state.posMax, start + MAX_ADDRESS)
    opened = {marker: _open_run(state, marker) for marker in _DELIMITERS}
    characters: list[str] = []
    ends: list[int] = []
    brackets: list[str] = []
    at = start
    while at < limit and not _ends_address(src[at]):
        character, end = _unescaped(src, at)
        is_escaped = end != at + 1
        if not character or (not is_escaped and _is_outside(src, at, brackets, opened)):
            break
        characters.append(character)
        ends.append(end)
        at = end
    spend(state.env, len(characters))
    length = len(_before_other_script("".join(characters)).rstrip(_END_OF_SENTENCE))
    return "".join(characters[:length]), ends[length - 1]


def _unescaped(src: str, at: int) -> tuple[str, int]:
    """Return the character at `at` and its end; no character for an entity that ends an address."""
    if src[at] == "\\" and at + 1 < len(src) and isMdAsciiPunct(ord(src[at + 1])):
        return src[at + 1], at + 2
    entity = _ENTITY.match(src, at) if src[at] == "&" else None
    if entity is None:
        return src[at], at + 1
    return "&" if entity[0].lower() == "&amp;" else "", entity.end()


def _is_outside(src: str, at: int, brackets: list[str], opened: dict[str, int]) -> bool:
    """Return True for a bracket or a delimiter that was opened before the address.

    `brackets` are the closing brackets that the address still needs; they are updated.
    """
    character = src[at]
    if character in _CLOSING:
        brackets.append(_CLOSING[character])
        return False
    if character in ")]}":
        return not brackets or brackets.pop() != character
    return character in _DELIMITERS and _closes(src, at, opened[character])


def _ends_address(character: str) -> bool:
    if character.isascii():
        return character <= " " or character in _NEVER_IN_ADDRESS or character == "\x7f"
    return unicodedata.category(character) in (
        "Zs",
        "Zl",
        "Zp",
        "Cc",
        "Cf",
        "Pi",
        "Pf",
    ) or is_cjk_punctuation(character)


def _open_run(state: StateInline, marker: str) -> int:
    """Return the length of the run of `marker` that is open at the current position, or 0."""
    length, at = 0, 0
    spend(state.env, len(state.delimiters) // 8)
    while at < len(state.delimiters):
        delimiter = state.delimiters[at]
        if delimiter.marker == ord(marker):
            is_end = length > 0 and delimiter.close
            if is_end:
                length = 0
            elif delimiter.open:
                length = delimiter.length or len("~~")  # markdown-it gives "~~" the length 0
        at += 1
        while at < len(state.delimiters) and (
            state.delimiters[at].token == state.delimiters[at - 1].token + 1
            and state.delimiters[at].marker == delimiter.marker
        ):
            at += 1
    return length


def _closes(src: str, at: int, length: int) -> bool:
    """Return True if the delimiters at `at` may close the open run of `length` delimiters."""
    if not length or not src.startswith(src[at] * length, at):
        return False
    behind = src[at + length : at + length + 1]
    return src[at] != "_" or not behind.isalnum()


def _before_other_script(address: str) -> str:
    """Cut an address where its host goes on in another script, or its port in a word.

    "https://a.example에서" leads to a.example. In "https://한글a.example" the name of the host is
    in two scripts: it continues to a top-level domain.
    """
    start = address.index("://") + len("://")
    host = _HOST.match(address, start)
    end = host.end() if host else start
    port = address.find(":", start, end)
    if port != -1 and address[start : start + 1] != "[":
        digits = _PORT.match(address, port)
        if digits and digits.end() < end:
            return address[: digits.end()]
        end = port
    for at in range(start + 1, end):
        before, character = address[at - 1], address[at]
        if not character.isalnum() or not before.isalnum() or _go_together(before, character):
            continue
        name = address[start:at]
        if ("." in name or name == "localhost") and not _IDN_REST.match(address[at:end]):
            return address[:at]
    return address


def _go_together(before: str, after: str) -> bool:
    """Return True if both letters can be in one word; Japanese has words in two scripts."""
    scripts = {script(before), script(after)}
    return len(scripts) == 1 or scripts == {"han", "kana"}


def show_hosts(state: StateCore) -> None:
    """markdown-it rule: remove links that are not allowed, and add its host to each other link."""
    for block in state.tokens:
        if block.type == "inline" and block.children:
            block.children = list(_with_hosts(block.children))


def _with_hosts(tokens: list[Token]) -> Iterator[Token]:
    link: Token | None = None
    words = ""
    for token in tokens:
        if token.type == "link_open":
            link, words = token, ""
            if _host(_href(token)):
                yield token
        elif token.type == "link_close" and link is not None:
            yield from _end_of_link(token, _href(link), words)
            link = None
        else:
            words += token.content
            yield token


def _href(link: Token) -> str:
    return str(link.attrs.get("href", ""))


def _end_of_link(token: Token, href: str, words: str) -> Iterator[Token]:
    """Yield the end of a link, and its host unless the link text is already the host."""
    host = _host(href)
    if not host:
        return
    yield token
    shown = words.strip().casefold()
    said = {shown.removeprefix("www."), _host(shown)}
    if href.startswith("mailto:") and _MAIL_ADDRESS.fullmatch(shown):
        said.add(shown.rpartition("@")[2])
    if host not in said:
        yield Token("link_host", "bdi", 0, content=host)


def _host(url: str) -> str:
    """Return the host of a link, normalized; empty if the link is not allowed."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return ""
    if parts.scheme not in SCHEMES:
        return ""
    if parts.scheme == "mailto":
        return parts.path.rpartition("@")[2].casefold()
    if "@" in parts.netloc or "\\" in url or "%5C" in parts.netloc:
        return ""  # text before "@" or a backslash can be made to look like the host
    return host.removeprefix("www.")
