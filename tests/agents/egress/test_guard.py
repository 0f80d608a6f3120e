"""The egress guard: no byte of a request, and no key, reaches a refused address."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import httpx
import pytest
from pytest_django.fixtures import Settings

from agents.egress.dns import resolver
from agents.egress.guard import EgressRefused, check_url
from agents.engine import warm
from agents.engine_types import Limits
from agents.services.connection_check import check_provider
from tests.agents.engine.answers import KEY, ask, persona
from tests.deadlines import DEADLINE
from tests.provider import running

LIMITS = Limits(seconds=DEADLINE, max_attempts=1)
LOOPBACK = (
    *("127.0.0.1", "localhost", "0", "0.0.0.0", "127.1", "127.127.127.127"),
    *("2130706433", "0x7f000001", "0x7f.1", "0177.1", "0177.0.0.01", "[::1]", "[::]"),
    *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::7f00:1]", "[::ffff:0:7f00:1]"),
    *("[64:ff9b::7f00:1]", "[2002:7f00:1::]", "127。0。0。1", "１２７.0.0.1"),
)
PRIVATE = (
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "198.18.0.1"),
    *("169.254.169.254", "192.0.2.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("[fd00:ec2::254]", "[fe80::1]", "[fe80::1%25lo]", "[fec0::1]", "[ff02::1]", "[2001:db8::1]"),
    *("[::ffff:10.0.0.1]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[2002:a00:1::]"),
    *("metadata.google.internal", "printer.local", "router.home.arpa", "intranet", "a.localhost"),
    "localhost.",
)
INVALID_URLS = (
    *("file:///etc/passwd", "gopher://127.0.0.1/", "dict://127.0.0.1/", "ftp://127.0.0.1/"),
    *(
        "unix:/var/run/docker.sock",
        "javascript:alert(1)",
        "//127.0.0.1/",
        "127.0.0.1",
        "",
        "https://",
    ),
    *("http://evil@127.0.0.1/", "http://a:b@1.1.1.1/", "http://127.0.0.1#@1.1.1.1/"),
    *("http://1.1.1.1\\@127.0.0.1/", "http://1.1.1.1\t/", "http://1.1.1.1\n/", "http:// 1.1.1.1/"),
    *("http://1.1.1.1/?next=x", "http://1.1.1.1/#x", "http://1.1.1.1:99999/", "http://[::1/"),
    "https://xn--a.example.com/",
)


@dataclass
class Canary:
    """A listener that no request may reach; it records what it receives."""

    port: int
    received: list[bytes] = field(default_factory=list)


@pytest.fixture
def canary() -> Iterator[Canary]:
    with socket.create_server(("", 0)) as server:
        canary = Canary(server.getsockname()[1])

        def listen() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return  # the test has ended
                with connection:
                    connection.settimeout(DEADLINE)
                    canary.received.append(connection.recv(65536))

        thread = Thread(target=listen, daemon=True)
        thread.start()
        yield canary
        server.shutdown(socket.SHUT_RDWR)
        thread.join(DEADLINE)


@pytest.fixture(autouse=True)
def _nothing_allowed(settings: Settings) -> None:
    settings.EGRESS_ALLOW = frozenset()


@pytest.fixture
def set_addresses(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Resolve a name to the given addresses in turn, then always to the last; return the log."""
    real = socket.getaddrinfo

    def resolve(name: str, *addresses: str) -> list[str]:
        given: list[str] = []

        def fake(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
            if host != name:
                return real(host, port, *rest, **options)
            given.append(addresses[min(len(given), len(addresses) - 1)])
            return real(given[-1], port, *rest, **options)

        monkeypatch.setattr(socket, "getaddrinfo", fake)
        return given

    return resolve


@pytest.mark.parametrize("host", [*LOOPBACK, *PRIVATE])
def test_a_private_address_is_refused(host: str) -> None:
    with pytest.raises(EgressRefused):
        check_url(f"https://{host}/v1")


@pytest.mark.parametrize("url", INVALID_URLS)
def test_an_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(EgressRefused) as refused:
        check_url(url)

    assert refused.value.code == "invalid"


@pytest.mark.parametrize(
    "url",
    [
        "https://1.1.1.1/v1",
        "http://8.8.8.8:8000/v1",
        "https://[2606:4700:4700::1111]/v1",
        "https://models.invalid/v1",
    ],
)
def test_public_addresses_and_unresolvable_names_pass(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize("host", LOOPBACK)
async def test_no_byte_reaches_a_refused_address(canary: Canary, host: str) -> None:
    await warm()
    base_url = f"http://{host}:{canary.port}/v1"

    result = await ask(persona(base_url, "echo"), limits=LIMITS)
    checked = await asyncio.to_thread(check_provider, kind="openai", base_url=base_url, key=KEY)

    assert result.code == "not_allowed"
    assert not checked.ok
    assert canary.received == []


async def test_the_canary_records_an_allowed_request(canary: Canary, settings: Settings) -> None:
    settings.EGRESS_ALLOW = frozenset({f"127.0.0.1:{canary.port}"})

    await ask(persona(f"http://127.0.0.1:{canary.port}/v1", "echo"), limits=LIMITS)

    assert KEY.encode() in canary.received[0]


async def test_a_name_that_resolves_to_loopback_is_refused(
    canary: Canary, set_addresses: Callable[..., list[str]]
) -> None:
    set_addresses("models.example", "127.0.0.1")

    result = await ask(persona(f"http://models.example:{canary.port}/v1", "echo"), limits=LIMITS)

    assert result.code == "not_allowed"
    assert canary.received == []


def test_a_name_with_a_public_and_a_private_address_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both = [(0, 0, 0, "", (address, 443)) for address in ("1.1.1.1", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)

    with pytest.raises(EgressRefused):
        check_url("https://models.example/v1")


@pytest.mark.parametrize("entry", ["localhost:{port}", "127.0.0.1:{port}"])
async def test_the_operator_can_allow_a_private_address(
    canary: Canary, settings: Settings, entry: str
) -> None:
    settings.EGRESS_ALLOW = frozenset({entry.format(port=canary.port)})

    check_url(f"http://localhost:{canary.port}/v1")
    await ask(persona(f"http://localhost:{canary.port}/v1", "echo"), limits=LIMITS)

    assert len(canary.received) == 1


def test_another_port_of_an_allowed_address_is_refused(settings: Settings) -> None:
    settings.EGRESS_ALLOW = frozenset({"127.0.0.1:9000"})

    with pytest.raises(EgressRefused):
        check_url("http://127.0.0.1:9001/v1")


async def test_dns_rebinding_has_no_effect(
    canary: Canary, set_addresses: Callable[..., list[str]], settings: Settings
) -> None:
    settings.EGRESS_ALLOW = frozenset({f"127.0.0.1:{canary.port}"})
    given = set_addresses("models.example", "127.0.0.1", "127.0.0.2")
    spec = persona(f"http://models.example:{canary.port}/v1", "echo")

    await ask(spec, limits=LIMITS)
    assert given == ["127.0.0.1"]  # resolved once: the checked address is the connected one
    resolver.clear_cache()
    later = await ask(spec, limits=LIMITS)

    assert later.code == "not_allowed"
    assert len(canary.received) == 1


def test_dns_rebinding_works_against_a_client_that_resolves_twice(
    canary: Canary, set_addresses: Callable[..., list[str]], settings: Settings
) -> None:
    settings.EGRESS_ALLOW = frozenset({f"127.0.0.1:{canary.port}"})
    given = set_addresses("models.example", "127.0.0.1", "127.0.0.2")
    url = f"http://models.example:{canary.port}/v1"

    check_url(url)
    with pytest.raises(httpx.HTTPError):
        httpx.get(url, trust_env=False)

    assert given == ["127.0.0.1", "127.0.0.2"]
    assert len(canary.received) == 1


async def test_the_host_header_is_that_of_the_url(
    canary: Canary, set_addresses: Callable[..., list[str]], settings: Settings
) -> None:
    settings.EGRESS_ALLOW = frozenset({f"127.0.0.1:{canary.port}"})
    set_addresses("models.example", "127.0.0.1")

    await ask(persona(f"http://models.example:{canary.port}/v1", "echo"), limits=LIMITS)

    assert f"host: models.example:{canary.port}".encode() in canary.received[0].lower()


def test_a_proxy_from_the_environment_is_not_used(
    canary: Canary, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{canary.port}")
    with running() as provider:
        settings.EGRESS_ALLOW = frozenset({provider.address})

        checked = check_provider(kind="openai", base_url=provider.base_url, key=KEY)

    assert checked.ok
    assert canary.received == []
