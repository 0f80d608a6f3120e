"""The egress guard: requests go only to public IPs and to the hosts in MARU_EGRESS_ALLOW.

`check_url` checks a URL that a user has entered. `pin_request` checks a request when it is sent: it
resolves the host once and binds the request to the resulting IP. If the name resolves to another IP
a moment later (DNS rebinding), the request is not affected.
"""

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final
from uuid import UUID

import httpx
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from accounts.errors import Invalid
from agents.egress.dns import HostUnknown, resolve, resolver

PORTS: Final = {"http": 80, "https": 443}
_HOST_PATTERN: Final = re.compile(r"[a-z0-9:_-][a-z0-9:._%-]*")
LOCAL_SUFFIXES: Final = ("localhost", "local", "internal", "lan", "home.arpa")

# IPv6 ranges that embed an IPv4 address, and the bits to the right of it: RFC 4291 §2.5.5
# (compatible, mapped), RFC 2765 §2.1 (translated), RFC 6052 §2.1 (NAT64), RFC 3056 §2 (6to4).
_IPV4_IN_IPV6: Final = (
    (IPv6Network("::/96"), 0),
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("::ffff:0:0:0/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("2002::/16"), 80),
)
# `is_global` in Python 3.11, but not public: RFC 8215 (local NAT64), RFC 2928 (IETF protocol
# assignments), RFC 9637 (documentation), RFC 9602 (SRv6), RFC 3879 (site-local).
_NOT_PUBLIC: Final = (
    IPv6Network("64:ff9b:1::/48"),
    IPv6Network("2001::/23"),
    IPv6Network("3fff::/20"),
    IPv6Network("5f00::/16"),
    IPv6Network("fec0::/10"),
)


class EgressRefused(Invalid):
    """The egress guard does not allow requests to this URL or IP."""

    default_detail = _(
        "This address is not public. Use a public one, or ask the server's operator to allow it."
    )


def check_url(url: str) -> None:
    """Raise EgressRefused if `url` is not a valid base URL of a provider, or is not allowed.

    A name that cannot be resolved now is accepted unless its suffix is local, because `pin_request`
    checks again. Blocking; call it from a thread.
    """
    host, port = _host_and_port(parse_url(url))
    try:
        _check_addresses(host, port, resolve(host, port))
    except HostUnknown:
        name = host.rstrip(".")
        local = "." not in name or name.endswith(tuple(f".{suffix}" for suffix in LOCAL_SUFFIXES))
        if local and not _is_allowed(host, port):
            raise EgressRefused from None


def parse_url(url: str) -> httpx.URL:
    """Return `url` as httpx parses it. Raises EgressRefused if it is not a base URL."""
    parsed = _parse(url)
    if parsed.userinfo or "#" in url or "?" in url:
        raise EgressRefused(_("Enter only the address, without a user name, ? or #."))
    return parsed


def parse_page_url(url: str) -> httpx.URL:
    """Return the URL of a page, without its fragment. Raises EgressRefused.

    Of the ports below 1024, which have other protocols, those of HTTP are allowed.
    """
    parsed = _parse(url)
    port = PORTS[parsed.scheme] if parsed.port is None else parsed.port
    if parsed.userinfo or (port < 1024 and port not in PORTS.values()):
        raise EgressRefused
    return parsed.copy_with(fragment=None)


async def apin_page(request: httpx.Request, team: UUID) -> httpx.Request:
    """Like `apin_request`, for a URL that a model has chosen: only public IPs are allowed.

    MARU_EGRESS_ALLOW does not count: it is for addresses that a team admin enters.
    """
    host, port = _host_and_port(request.url)
    addresses = await resolver.resolve(host, port, team)
    if not addresses or not all(map(_is_public, addresses)):
        raise EgressRefused
    return pin(request, addresses[0])


def _parse(url: str) -> httpx.URL:
    """Return `url` as httpx parses it. Raises EgressRefused if it is not a URL of HTTP."""
    check_characters(url)
    try:
        parsed = httpx.URL(url)
        host = parsed.host  # raises ValueError for a name that is no IDNA; so would each request
    except (httpx.InvalidURL, ValueError):
        raise EgressRefused(
            _("Enter the full address, for example https://api.example.com/v1.")
        ) from None
    if not host or parsed.scheme not in PORTS or not _HOST_PATTERN.fullmatch(_host(parsed)):
        raise EgressRefused(_("Enter the full address, for example https://api.example.com/v1."))
    return parsed


def check_characters(url: str) -> None:
    """Raise EgressRefused for characters that parsers of URLs treat in different ways."""
    if not url.isprintable() or any(character in url for character in " \\"):
        raise EgressRefused(
            _("Enter the address without spaces, for example https://api.example.com/v1.")
        )


def pin_request(request: httpx.Request) -> httpx.Request:
    """Return the request bound to an allowed IP. Raises EgressRefused or HostUnknown.

    Blocking; call it from a thread.
    """
    host, port = _host_and_port(request.url)
    return pin(request, _check_addresses(host, port, resolve(host, port))[0])


async def apin_request(request: httpx.Request, team: UUID, attempt: int = 0) -> httpx.Request:
    """Like `pin_request`, for a run of `team`, without blocking the event loop.

    If the host has several IPs, each attempt (counted from 0) uses the next IP.
    """
    addresses = await aresolve(request.url, team)
    return pin(request, addresses[attempt % len(addresses)])


async def aresolve(url: httpx.URL, team: UUID) -> list[str]:
    """Return the IPs of the host, all allowed. Raises EgressRefused or HostUnknown."""
    host, port = _host_and_port(url)
    return _check_addresses(host, port, await resolver.resolve(host, port, team))


def pin(request: httpx.Request, address: str) -> httpx.Request:
    """Return the request bound to `address`, an IP that the guard has allowed for its URL.

    The Host header and the host name for TLS stay those of the URL.
    """
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions=request.extensions | {"sni_hostname": _host(request.url)},
    )


def _host_and_port(url: httpx.URL) -> tuple[str, int]:
    port = url.port or PORTS.get(url.scheme, 0)
    if url.scheme not in PORTS or port > 65535:
        raise EgressRefused
    return _host(url), port


def _host(url: httpx.URL) -> str:
    """Return the host in ASCII, as it is sent. `URL.host` decodes IDNA and can raise."""
    return url.raw_host.decode("ascii").strip("[]").lower()


def _check_addresses(host: str, port: int, addresses: list[str]) -> list[str]:
    """Return `addresses` if every address is allowed; otherwise raise EgressRefused.

    A name with one public and one private address is refused, because an attacker could choose
    which of the two is used. Raises HostUnknown if `addresses` is empty.
    """
    if not addresses:
        raise HostUnknown
    for address in addresses:
        allowed = _is_allowed(host, port) or _is_allowed(address, port)
        if not allowed and not _is_public(address):
            raise EgressRefused
    return addresses


def is_allowed_url(url: httpx.URL) -> bool:
    """Return True if the operator allows the host and port of this URL by name."""
    return _is_allowed(*_host_and_port(url))


def _is_allowed(host: str, port: int) -> bool:
    """Return True if MARU_EGRESS_ALLOW contains this host and port."""
    return f"{host}:{port}" in settings.EGRESS_ALLOW or (
        ":" in host and f"[{host}]:{port}" in settings.EGRESS_ALLOW
    )


def _is_public(address: str) -> bool:
    try:
        ip: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        for network, shift in _IPV4_IN_IPV6:
            if ip in network:
                ip = IPv4Address(int(ip) >> shift & 0xFFFFFFFF)
                break
        else:
            if any(ip in network for network in _NOT_PUBLIC):
                return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved
