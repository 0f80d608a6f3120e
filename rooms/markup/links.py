"""Links that say where they lead, and mentions of people and personas."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from markdown_it.common.normalize_url import normalizeLink
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import EnvType

from rooms.markup.clean import SCHEMES

LONGEST_HANDLE: Final = 40

_MAIL_ADDRESS: Final = re.compile(r"[^\s/:@]+@[^\s/:@]+")
_URL_OR_MENTION: Final = re.compile(
    r"(?P<url>\bhttps?://[^\s<>\"'`]+)|(?<![\w@/.])@(?P<word>\w[\w.-]*)", re.IGNORECASE
)
_END_OF_SENTENCE: Final = ".,:;!?*_~"
# What Korean hangs onto a name: "@garam이", "@garam님께".
_PARTICLE: Final = re.compile(
    r"(?:님|씨)?(?:이랑|이나|이고|이야|이여|이|가|은|는|을|를|의|에게서|에게|에서|에|와|과|도|만"
    r"|께서|께|한테|랑|하고|야|아|까지|부터|처럼|보다|으로|로)?"
)


def by_fold(handles: Iterable[str]) -> dict[str, str]:
    """Return the handles by what they are when upper and lower case are alike."""
    return {handle.casefold(): handle for handle in handles if handle}


def mentioned(text: str, handles: Collection[str]) -> list[str]:
    """Return those of `handles` that `text` mentions, each once, in the order of the text."""
    known = by_fold(handles)
    words = (match["word"] for match in _URL_OR_MENTION.finditer(text) if match["word"])
    found = (_handle_in(word, known) for word in words)
    return list(dict.fromkeys(handle for handle in found if handle))


def link_and_mention(state: StateCore) -> None:
    """Make links and mentions of what stands in texts; unmake links that may not be."""
    for block in state.tokens:
        if block.type == "inline" and block.children:
            block.children = list(_looked_through(block.children, state.env))


def _looked_through(tokens: list[Token], env: EnvType) -> Iterator[Token]:
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
        elif token.type == "text" and link is None:
            yield from _split(token, env["handles"])
        else:
            words += token.content
            yield token


def _href(link: Token) -> str:
    return str(link.attrs.get("href", ""))


def _end_of_link(token: Token, href: str, words: str) -> Iterator[Token]:
    """After the words of a link comes its host, unless the words are that already."""
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
    """Return where a link leads, as machines write it; empty if it may not be a link."""
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
        return ""  # what stands before such a sign only looks like a host
    return host.removeprefix("www.")


def _split(text: Token, known: Mapping[str, str]) -> Iterator[Token]:
    """Yield a text in parts: the addresses, the mentions, and what is between them."""
    done = 0
    for match in _URL_OR_MENTION.finditer(text.content):
        made = list(_link(match["url"]) if match["url"] else _mention(match["word"], known))
        if not made:
            continue
        yield _text(text.content[done : match.start()])
        yield from made
        done = match.start() + _length(made)
    yield _text(text.content[done:])


def _length(made: list[Token]) -> int:
    """How much of the text the tokens stand for; a host beside a link is an addition."""
    return sum(len(token.content) for token in made if token.type != "link_host")


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


def _link(found: str) -> Iterator[Token]:
    address = found.rstrip(_END_OF_SENTENCE)
    while address.endswith(")") and address.count(")") > address.count("("):
        address = address[:-1].rstrip(_END_OF_SENTENCE)
    href = normalizeLink(address)
    if not _host(href):
        return
    yield Token("link_open", "a", 1, attrs={"href": href})
    yield _text(address)
    yield from _end_of_link(Token("link_close", "a", -1), href, address)


def _mention(word: str, known: Mapping[str, str]) -> Iterator[Token]:
    handle = _handle_in(word, known)
    if handle:
        yield Token("mention", "span", 0, content=f"@{word[: len(handle)]}", info=handle)


def _handle_in(word: str, known: Mapping[str, str]) -> str:
    """Return the longest known handle that `word` begins with, if nothing but grammar follows."""
    word = word.casefold()
    for length in range(min(len(word), LONGEST_HANDLE), 0, -1):
        if word[:length] in known and _PARTICLE.fullmatch(word[length:].rstrip(".-")):
            return known[word[:length]]
    return ""
