"""Parses every address in the settings; each mistake is one sentence without the value.

The syntax is RFC 3986, but stricter where a mistake would be misread: a reserved character in a
password would end the authority (§3.2) and turn the rest of the password into a host or a path.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import parse_qsl, unquote

RESERVED: Final = (
    "in a user name or a password, write # as %23, / as %2F, ? as %3F, [ as %5B, ] as %5D, "
    "@ as %40 and % as %25"
)
UNIX: Final = "unix:"
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)
_PERCENT: Final = re.compile(r"%(?![0-9a-f]{2})", re.IGNORECASE)
_MAX_HOST: Final = 253
_MAX_UNIX_PATH: Final = 107
"""Bytes of `sun_path` without its end (unix(7))."""


class Mistake(ValueError):
    """A wrong address. The text completes the sentence that begins with the variable's name."""


@dataclass(frozen=True)
class Address:
    """The parts of a URL, decoded. `hosts` has more than one entry only where a list is allowed."""

    scheme: str
    user: str | None
    password: str | None = field(repr=False)
    hosts: tuple[tuple[str, int | None], ...]
    path: str
    query: dict[str, str] = field(repr=False)

    @property
    def host(self) -> str:
        """The first host; empty if the URL names none."""
        return self.hosts[0][0] if self.hosts else ""

    @property
    def port(self) -> int | None:
        """The port of the first host, if the URL has one."""
        return self.hosts[0][1] if self.hosts else None


def parse_url(
    url: str, schemes: Collection[str], *, several_hosts: bool = False, host_needed: bool = True
) -> Address:
    """Return the parts of `url`. Raises Mistake."""
    _check_characters(url)
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in schemes:
        raise Mistake(f"must begin with {' or '.join(f'{name}://' for name in schemes)}")
    if "#" in rest:
        raise Mistake(f"contains a #, which an address cannot have; {RESERVED}")
    authority, after = re.fullmatch(r"([^/?]*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]  # matches every text
    userinfo, at, location = authority.rpartition("@")
    if "@" in after or "@" in userinfo or "[" in userinfo or "]" in userinfo:
        raise Mistake(f"has a user name or a password that cannot be read; {RESERVED}")
    path, _, query = after.partition("?")
    user, colon, password = userinfo.partition(":")
    hosts = [location] if not several_hosts else location.split(",")
    return Address(
        scheme=scheme,
        user=_decode(user) if at and user else None,
        password=_decode(password) if colon and password else None,
        hosts=tuple(_host_and_port(one) for one in hosts) if location or host_needed else (),
        path=_decode(path),
        query=_query(query),
    )


def parse_egress_entry(entry: str) -> str:
    """Return `host:port` as the egress guard compares it. Raises Mistake."""
    example = "each entry is host:port, for example llm.internal:8080 or [fd00::5]:8080"
    _check_characters(entry)
    if "://" in entry:
        raise Mistake(f"has an entry that begins with a scheme; {example}")
    if re.search(r"[/?#@]", entry):
        raise Mistake(f"has an entry with more than a host and a port; {example}")
    try:
        host, port = _host_and_port(entry)
    except Mistake as mistake:
        raise Mistake(f"{mistake}; {example}") from None
    if port is None:
        raise Mistake(f"has an entry without a port; {example}")
    return f"{bracketed(host)}:{port}"


def parse_host(entry: str) -> str:
    """Return a host name or an IP address without brackets, in lower case. Raises Mistake."""
    _check_characters(entry)
    if "://" in entry:
        raise Mistake("must be a host name or an IP address, without a scheme")
    if re.search(r"[/?#@]", entry):
        raise Mistake("must be a host name or an IP address, and nothing else")
    if ":" in entry and not entry.startswith("[") and entry.count(":") == 1:
        raise Mistake("must be a host name or an IP address, without a port")
    if ":" in entry and not entry.startswith("["):
        entry = f"[{entry}]"
    host, port = _host_and_port(entry)
    if port is not None:
        raise Mistake("must be a host name or an IP address, without a port")
    return host


def parse_listen_address(text: str) -> str:
    """Return the host that the web process listens on, or `unix:` with a path. Raises Mistake."""
    if not text.startswith(UNIX):
        return parse_host(text)
    _check_characters(text)
    path = text.removeprefix(UNIX)
    if not path.startswith("/") or path.endswith("/"):
        raise Mistake("must be unix: and the absolute path of a socket: unix:/run/maru/web.sock")
    if len(path.encode()) > _MAX_UNIX_PATH:
        raise Mistake(f"names a Unix socket with a path of more than {_MAX_UNIX_PATH} bytes")
    return text


def parse_allowed_host(entry: str) -> str:
    """Return an entry of Django's ALLOWED_HOSTS. Raises Mistake.

    A leading dot stands for all subdomains. IPv6 addresses have brackets, as in a Host header.
    """
    dot = "." if entry.startswith(".") else ""
    return dot + bracketed(parse_host(entry.removeprefix(dot)))


def parse_network(entry: str) -> str:
    """Return an IP network in its normal form. Raises Mistake."""
    try:
        return str(ip_network(entry, strict=False))
    except ValueError:
        raise Mistake("each entry is an IP address or a network, for example 10.0.0.0/8") from None


def bracketed(host: str) -> str:
    """Return the host as it stands in a URL: an IPv6 address has brackets."""
    return f"[{host}]" if ":" in host else host


def _check_characters(text: str) -> None:
    if any(character.isspace() or not character.isprintable() for character in text):
        raise Mistake(
            "contains a space or a control character; in a password, write a space as %20"
        )


def _host_and_port(text: str) -> tuple[str, int | None]:
    """Split `host`, `host:port`, `[IPv6]` or `[IPv6]:port`."""
    if text.startswith("["):
        inside, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise Mistake("has a [ without its ]; an IPv6 address is written [::1] or [::1]:8000")
        return _ipv6(inside), _port(rest[1:]) if rest else None
    if "," in text:
        raise Mistake("names several hosts; name one")
    if text.count(":") > 1:
        raise Mistake("needs brackets around an IPv6 address: [::1]")
    host, colon, port = text.partition(":")
    return _name(host), _port(port) if colon else None


def _ipv6(text: str) -> str:
    try:
        return str(IPv6Address(_decode(text)))
    except ValueError:
        raise Mistake("has brackets around something that is no IPv6 address") from None


def _name(host: str) -> str:
    """Check a DNS name (RFC 1123 §2.1; container networks also use `_`) or an IPv4 address."""
    if not host:
        raise Mistake("names no host")
    if "*" in host:
        raise Mistake("has a * where a host name or an IP address belongs")
    if not host.isascii():
        raise Mistake("has a host name that is not ASCII; write it in its xn-- form")
    labels = host.removesuffix(".").split(".")
    if len(host) > _MAX_HOST or not all(map(_LABEL.fullmatch, labels)):
        raise Mistake("has a host name that cannot exist")
    if labels[-1].isdigit():  # no top-level domain is a number, so this is an IPv4 address
        try:
            return str(ip_address(host))
        except ValueError:
            raise Mistake("has an IP address that cannot exist") from None
    return host.lower()


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65_536):
        raise Mistake("has a port that is not a number from 1 to 65535")
    return int(text)


def _decode(text: str) -> str:
    """Decode percent-encoding (RFC 3986 §2.1) as UTF-8."""
    if _PERCENT.search(text):
        raise Mistake(f"contains a % without two hexadecimal digits; {RESERVED}")
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise Mistake("contains percent-encoded bytes that are not UTF-8") from None
    if "\0" in decoded:
        raise Mistake("contains %00, which no server accepts")
    return decoded


def _query(text: str) -> dict[str, str]:
    if _PERCENT.search(text):
        raise Mistake(f"contains a % without two hexadecimal digits; {RESERVED}")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), errors="strict")
    except ValueError:
        raise Mistake("has options after ? that are not name=value, joined with &") from None
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise Mistake("has an option after ? twice")
    return dict(pairs)
