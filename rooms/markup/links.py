"""Links, shown with their host, and mentions of people and personas."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from markdown_it.common.normalize_url import normalizeLink
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import EnvType

from rooms.markup.clean import SCHEMES

MAX_HANDLE_LENGTH: Final = 40

_MAIL_ADDRESS: Final = re.compile(r"[^\s/:@]+@[^\s/:@]+")
_URL_OR_MENTION: Final = re.compile(
    r"(?P<url>\bhttps?://[^\s<>\"'`]+)|(?<![\w@/.])@(?P<word>\w[\w.-]*)", re.IGNORECASE
)
_END_OF_SENTENCE: Final = ".,:;!?*_~"
# Korean particles and honorifics that may follow a name: "@garam이", "@garam님께".
_PARTICLE: Final = re.compile(
    r"(?:님|씨)?(?:이랑|이나|이고|이야|이여|이|가|은|는|을|를|의|에게서|에게|에서|에|와|과|도|만"
    r"|께서|께|한테|랑|하고|야|아|까지|부터|처럼|보다|으로|로)?"
)


def by_casefold(handles: Iterable[str]) -> dict[str, str]:
    """Return a mapping from the casefolded form of each handle to the handle."""
    return {handle.casefold(): handle for handle in handles if handle}


def mentioned(text: str, handles: Collection[str]) -> list[str]:
    """Return the handles that `text` mentions, each once, in the order of the text."""
    known = by_casefold(handles)
    words = (match["word"] for match in _URL_OR_MENTION.finditer(text) if match["word"])
    found = (_handle_in(word, known) for word in words)
    return list(dict.fromkeys(handle for handle in found if handle))


def link_and_mention(state: StateCore) -> None:
    """markdown-it rule: add links and mentions to text; remove links that are not allowed."""
    for block in state.tokens:
        if block.type == "inline" and block.children:
            block.children = list(_process(block.children, state.env))


def _process(tokens: list[Token], env: EnvType) -> Iterator[Token]:
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


def _split(text: Token, known: Mapping[str, str]) -> Iterator[Token]:
    """Yield tokens for the URLs, the mentions, and the text between them."""
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
    """Return the number of characters that the tokens replace; an added host replaces none."""
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
    """Return the longest known handle at the start of `word`, if only a particle follows it."""
    word = word.casefold()
    for length in range(min(len(word), MAX_HANDLE_LENGTH), 0, -1):
        if word[:length] in known and _PARTICLE.fullmatch(word[length:].rstrip(".-")):
            return known[word[:length]]
    return ""
