"""The text of /metrics, and the clients that may read it."""

from ipaddress import IPv6Address, ip_address
from typing import Final

import prometheus_client
from django.conf import settings
from prometheus_client import Info

from maru import __version__
from maru.monitoring.stores import StoreCollector

CONTENT_TYPE: Final = prometheus_client.CONTENT_TYPE_LATEST

BUILD: Final = Info("maru_build", "Version and source revision of this process")


def start() -> None:
    """Export the state of the stores and the build as well; called once, when a process starts."""
    # `_created` would double the number of series, and Prometheus does not use it.
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no types
    BUILD.info({"version": __version__, "revision": settings.REVISION})
    prometheus_client.REGISTRY.register(StoreCollector())


def metrics_text() -> bytes:
    """Return all metrics of this process. Blocks for up to two seconds: call it in a thread."""
    return prometheus_client.generate_latest()


def may_read(client: str) -> bool:
    """Return True if the IP address of a client is in MARU_METRICS_ALLOW."""
    try:
        address = ip_address(client)
    except ValueError:  # the client of a Unix socket has no IP
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in settings.METRICS_ALLOW)
