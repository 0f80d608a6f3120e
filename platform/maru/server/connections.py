"""Bounds on the open TCP connections of a web process, in total and for each client address.

A connection is *waiting* while its client owes bytes: it is silent, its request is incomplete, or
it is idle between two requests. It is *busy* while the server owes the response, and as a WebSocket
or an event stream. At a bound, the connection that has waited longest is closed in favour of the
new one, so a client that opens silent connections does not lock out others of the same address. A
new connection is refused only if all others are busy.
"""

import resource
from collections.abc import Callable, Sequence
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from maru.server.refusals import Refusal

RESERVED_FILES: Final = 200
"""File descriptors that are not for clients: database, Redis, static files, threads."""

_IPV6_PREFIX: Final = 64  # a provider assigns at least a /64 to one customer (RFC 6177)

TOO_MANY_OF_ADDRESS: Final = Refusal(
    HTTPStatus.TOO_MANY_REQUESTS, "rate_limited", "address", retry_after=1
)
TOO_MANY: Final = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "total", retry_after=1)


class Slot:
    """The place of one connection in `Connections`. All methods run on the event loop."""

    __slots__ = ("_connections", "_same_address", "close")

    def __init__(
        self,
        connections: "Connections",
        same_address: "_Address | None",
        close: Callable[[], None],
    ) -> None:
        self._connections = connections
        self._same_address = same_address
        self.close = close

    def waits(self) -> None:
        """Mark the connection as waiting for its client, from now."""
        for group in self._groups():
            group.waiting.pop(self, None)
            group.waiting[self] = None

    def is_busy(self) -> None:
        """Mark the connection as busy: it cannot be closed in favour of another one."""
        for group in self._groups():
            group.waiting.pop(self, None)

    def release(self) -> None:
        """Free the place. Further calls have no effect."""
        for group in self._groups():
            group.waiting.pop(self, None)
            group.open.discard(self)
        self._connections.forget(self._same_address)

    def _groups(self) -> "Sequence[_Group]":
        everywhere = self._connections.everywhere
        return (everywhere, self._same_address) if self._same_address else (everywhere,)


class _Group:
    """Open connections that share a bound; `waiting` is ordered by the time of the last change."""

    def __init__(self) -> None:
        self.open: set[Slot] = set()
        self.waiting: dict[Slot, None] = {}

    def has_place(self, bound: int) -> bool:
        """Return True if one more connection may be open; if necessary, close a waiting one."""
        if len(self.open) >= bound and self.waiting:
            longest = next(iter(self.waiting))
            longest.release()
            longest.close()
        return len(self.open) < bound


class _Address(_Group):
    """The connections of one client address."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key


class Connections:
    """Counts connections. `per_address` is None if addresses have no bound.

    Connections of trusted proxies count only in total: the proxy limits its clients.
    """

    def __init__(
        self, total: int, per_address: int | None, trusted_proxies: Sequence[str] = ()
    ) -> None:
        self.everywhere = _Group()
        self.is_draining = False
        self._total = total
        self._per_address = per_address
        self._trusted: list[IPv4Network | IPv6Network] = [ip_network(n) for n in trusted_proxies]
        self._addresses: dict[str, _Address] = {}

    def admit(self, client: str | None, close: Callable[[], None]) -> Slot | Refusal:
        """Return a waiting slot for a new connection, or the reason why it must be closed.

        `client` is None if the client has no IP address. `close` must close the connection at once.
        """
        key = self._key(client)
        same = None if key is None else self._addresses.get(key) or _Address(key)
        if same is not None and self._per_address and not same.has_place(self._per_address):
            return TOO_MANY_OF_ADDRESS
        if not self.everywhere.has_place(self._total):
            return TOO_MANY
        slot = Slot(self, same, close)
        self.everywhere.open.add(slot)
        if same is not None:
            same.open.add(slot)
            self._addresses[same.key] = same
        slot.waits()
        return slot

    def forget(self, address: _Address | None) -> None:
        """Remove an address that has no more connections."""
        if address is not None and not address.open and self._addresses.get(address.key) is address:
            del self._addresses[address.key]

    def _key(self, client: str | None) -> str | None:
        """Return the address that is counted, or None for a client that only counts in total."""
        if client is None or self._per_address is None:
            return None
        try:
            address = ip_address(client.partition("%")[0])
        except ValueError:  # a Unix socket
            return None
        if isinstance(address, IPv6Address):
            if address.ipv4_mapped is None:
                if any(address in network for network in self._trusted):
                    return None
                return str(IPv6Network((address, _IPV6_PREFIX), strict=False))
            address = address.ipv4_mapped
        return None if any(address in network for network in self._trusted) else str(address)


def allowed_by_system(connections: int) -> int:
    """Raise the limit of open files of this process; return the connections that it then allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + RESERVED_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, soft - RESERVED_FILES))
