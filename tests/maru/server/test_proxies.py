"""The client's address is that of the peer, unless a trusted proxy forwards another one."""

from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

from maru.server.process import config

INSIDE, OUTSIDE = "10.1.1.1", "203.0.113.9"
LIMIT_MESSAGE = "Too many attempts"


async def scope_behind(trusted: tuple[str, ...], peer: str, **headers: str) -> dict[str, Any]:
    """Return the ASGI scope that an application gets under our configuration of uvicorn."""
    seen: dict[str, Any] = {}

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.update(scope)

    served = config(application, trusted)
    served.load()
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "scheme": "http", "client": (peer, 1), "headers": raw}
    await served.loaded_app(scope, None, None)
    return seen


@pytest.mark.parametrize(
    ("trusted", "peer"), [((), INSIDE), ((), "127.0.0.1"), (("10.0.0.0/8",), OUTSIDE)]
)
async def test_forwarded_headers_of_untrusted_peers_are_ignored(
    trusted: tuple[str, ...], peer: str
) -> None:
    seen = await scope_behind(
        trusted, peer, x_forwarded_for="198.51.100.7", x_forwarded_proto="https"
    )

    assert (seen["client"][0], seen["scheme"]) == (peer, "http")


async def test_trusted_proxy_sets_the_client_and_the_scheme() -> None:
    seen = await scope_behind(
        ("10.0.0.0/8",), INSIDE, x_forwarded_for="198.51.100.7", x_forwarded_proto="https"
    )

    assert (seen["client"][0], seen["scheme"]) == ("198.51.100.7", "https")


async def test_addresses_that_the_client_put_before_the_proxys_are_ignored() -> None:
    seen = await scope_behind(
        ("10.0.0.0/8",), INSIDE, x_forwarded_for=f"127.0.0.1, 198.51.100.7, {INSIDE}"
    )

    assert seen["client"][0] == "198.51.100.7"


ADDRESSES = [f"198.51.100.{number}" for number in range(12)]


def attempts(client: Client, where: str) -> str:
    """Try one account for each address, set as META key `where`; return the last page."""
    cache.clear()
    page = b""
    for address in ADDRESSES:
        guess = {"login": f"{address}@example.com", "password": "a wrong guess"}
        extra: dict[str, Any] = {where: address}
        page = client.post("/accounts/login/", guess, **extra).content
    cache.clear()
    return page.decode()


@pytest.mark.django_db
def test_sign_in_attempts_are_counted_by_the_address_of_the_peer(
    client: Client, settings: Settings
) -> None:
    settings.ACCOUNT_RATE_LIMITS = {}

    for header in ("HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_FORWARDED"):
        assert LIMIT_MESSAGE in attempts(client, header), header
    assert LIMIT_MESSAGE not in attempts(client, "REMOTE_ADDR")
