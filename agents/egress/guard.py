"""Where our own requests may go: to public addresses, and to those that the operator has named.

`check_url` judges what somebody typed. `pinned` judges a request at the moment it is sent: its
host is resolved once, and the request goes to exactly that address, so a name that points
elsewhere a moment later changes nothing.
"""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final
from uuid import UUID

import httpx
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from accounts.errors import Invalid
from agents.egress.dns import HostUnknown, lookup, names

PORTS: Final = {"http": 80, "https": 443}
_NAME: Final = re.compile(r"[a-z0-9:_-][a-z0-9:._%-]*")
LOCAL_NAMES: Final = ("localhost", "local", "internal", "lan", "home.arpa")

# Ranges that carry an IPv4 address inside an IPv6 one, and by how many bits from the right.
_CARRIERS: Final = (
    (IPv6Network("::/96"), 0),
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("::ffff:0:0:0/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("2002::/16"), 80),
)
# Global by the registry's table in this Python, but nobody's public service.
_CLOSED: Final = (
    IPv6Network("64:ff9b:1::/48"),
    IPv6Network("2001::/23"),
    IPv6Network("3fff::/20"),
    IPv6Network("5f00::/16"),
    IPv6Network("fec0::/10"),
)


class EgressRefused(Invalid):
    """We do not send requests to this address."""

    default_detail = _(
        "This address is not public. Use another one, or ask the operator to allow it."
    )


def check_url(url: str) -> None:
    """Raise EgressRefused if `url` cannot be a provider's address, or is one we refuse."""
    host, port = _target(parsed(url))
    try:
        _judge(host, port, lookup(host, port))
    except HostUnknown:
        if _is_local(host) and not _is_named(host, port):
            raise EgressRefused from None


def parsed(url: str) -> httpx.URL:
    """Return `url` as the connection will read it, or raise EgressRefused if it is no address."""
    if not url.isprintable() or any(letter in url for letter in " \\"):
        raise EgressRefused(_("Write the address without spaces: https://host/path."))
    try:
        read = httpx.URL(url)
    except httpx.InvalidURL:
        raise EgressRefused(_("Write the address in full: https://host/path.")) from None
    if read.scheme not in PORTS or not _NAME.fullmatch(_host(read)):
        raise EgressRefused(_("Write the address in full: https://host/path."))
    if read.userinfo or "#" in url or "?" in url:
        raise EgressRefused(_("Write only the address, without a name, a query or a fragment."))
    return read


def pinned(request: httpx.Request) -> httpx.Request:
    """Return `request` bound to one address that it may go to; raise EgressRefused, HostUnknown."""
    host, port = _target(request.url)
    return _pin(request, _judge(host, port, lookup(host, port))[0])


async def apinned(request: httpx.Request, team: UUID, tried: int = 0) -> httpx.Request:
    """The same for a run of `team`, without holding up the loop while the name is resolved.

    Where a name has several addresses, each try goes to the next one.
    """
    host, port = _target(request.url)
    addresses = _judge(host, port, await names.find(host, port, team))
    return _pin(request, addresses[tried % len(addresses)])


def _target(url: httpx.URL) -> tuple[str, int]:
    port = url.port or PORTS.get(url.scheme, 0)
    if url.scheme not in PORTS or port > 65535:
        raise EgressRefused
    return _host(url), port


def _host(url: httpx.URL) -> str:
    """The host as it goes over the wire: `URL.host` would decode it, and fails on some names."""
    return url.raw_host.decode("ascii").strip("[]").lower()


def _judge(host: str, port: int, addresses: list[str]) -> list[str]:
    """Every address must be one we may use: a name with two faces is refused, not sorted out."""
    if not addresses:
        raise HostUnknown
    for address in addresses:
        if not (_is_public(address) or _is_named(host, port) or _is_named(address, port)):
            raise EgressRefused
    return addresses


def _pin(request: httpx.Request, address: str) -> httpx.Request:
    """The Host header and the certificate's name stay those of the URL; only the way is fixed."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions=request.extensions | {"sni_hostname": _host(request.url)},
    )


def _is_named(host: str, port: int) -> bool:
    return f"{host}:{port}" in settings.EGRESS_ALLOW or (
        ":" in host and f"[{host}]:{port}" in settings.EGRESS_ALLOW
    )


def _is_local(host: str) -> bool:
    name = host.rstrip(".")
    return "." not in name or name.endswith(tuple(f".{suffix}" for suffix in LOCAL_NAMES))


def _is_public(address: str) -> bool:
    try:
        return all(_is_open(face) for face in _faces(ip_address(address)))
    except ValueError:
        return False


def _is_open(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address) and any(address in network for network in _CLOSED):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _faces(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """An address, or the IPv4 address that it is a wrapping of."""
    for network, shift in _CARRIERS:
        if isinstance(address, IPv6Address) and address in network:
            yield IPv4Address(int(address) >> shift & 0xFFFFFFFF)
            return
    yield address
