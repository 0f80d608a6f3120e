"""Where our requests go: no byte, and least of all a key, reaches an address that we refuse."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import httpx
import pytest
from pytest_django.fixtures import Settings

from agents.egress.dns import names as remembered
from agents.egress.guard import EgressRefused, check_url
from agents.engine import warm
from agents.engine_types import Limits
from agents.services.connection_check import check_connection
from tests.agents.engine.asking import KEY, ask, persona
from tests.provider import running

LIMITS = Limits(seconds=5, tries=1)
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
NOT_A_PLACE = (
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
)


@dataclass
class Canary:
    """A listener that nobody of ours may reach; it keeps what it was sent."""

    port: int
    heard: list[bytes] = field(default_factory=list)


@pytest.fixture
def canary() -> Iterator[Canary]:
    with socket.create_server(("", 0)) as server:
        canary = Canary(server.getsockname()[1])

        def listen() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return  # the test is over
                with connection:
                    connection.settimeout(2)
                    canary.heard.append(connection.recv(65536))

        thread = Thread(target=listen, daemon=True)
        thread.start()
        yield canary
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.fixture(autouse=True)
def _nothing_allowed(settings: Settings) -> None:
    settings.EGRESS_ALLOW = frozenset()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Resolve a name to one address after the other, the last one for ever; note each time."""
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
def test_an_address_that_is_not_public_is_refused(host: str) -> None:
    with pytest.raises(EgressRefused):
        check_url(f"https://{host}/v1")


@pytest.mark.parametrize("url", NOT_A_PLACE)
def test_what_is_not_a_plain_web_address_is_refused(url: str) -> None:
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
def test_a_public_address_and_a_name_not_yet_known_pass(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize("host", LOOPBACK)
async def test_no_byte_reaches_what_is_refused(canary: Canary, host: str) -> None:
    await warm()
    base_url = f"http://{host}:{canary.port}/v1"

    heard = await ask(persona(base_url, "echo"), limits=LIMITS)
    checked = await asyncio.to_thread(check_connection, kind="openai", base_url=base_url, key=KEY)

    assert heard.code == "not_allowed"
    assert not checked.ok
    assert canary.heard == []


async def test_the_canary_would_hear_it(canary: Canary, settings: Settings) -> None:
    settings.EGRESS_ALLOW = frozenset({f"127.0.0.1:{canary.port}"})

    await ask(persona(f"http://127.0.0.1:{canary.port}/v1", "echo"), limits=LIMITS)

    assert KEY.encode() in canary.heard[0]


async def test_a_name_that_leads_home_is_refused(
    canary: Canary, names: Callable[..., list[str]]
) -> None:
    names("models.example", "127.0.0.1")

    heard = await ask(persona(f"http://models.example:{canary.port}/v1", "echo"), limits=LIMITS)

    assert heard.code == "not_allowed"
    assert canary.heard == []


def test_a_name_with_two_faces_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [(0, 0, 0, "", (address, 443)) for address in ("1.1.1.1", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)

    with pytest.raises(EgressRefused):
        check_url("https://models.example/v1")


@pytest.mark.parametrize("entry", ["localhost:{port}", "127.0.0.1:{port}"])
async def test_the_operator_may_allow_a_private_address(
    canary: Canary, settings: Settings, entry: str
) -> None:
    settings.EGRESS_ALLOW = frozenset({entry.format(port=canary.port)})

    check_url(f"http://localhost:{canary.port}/v1")
    await ask(persona(f"http://localhost:{canary.port}/v1", "echo"), limits=LIMITS)

    assert len(canary.heard) == 1


def test_another_port_of_an_allowed_address_stays_closed(settings: Settings) -> None:
    settings.EGRESS_ALLOW = frozenset({"127.0.0.1:9000"})

    with pytest.raises(EgressRefused):
        check_url("http://127.0.0.1:9001/v1")


async def test_a_name_that_turns_around_is_followed_nowhere(
    canary: Canary, names: Callable[..., list[str]], settings: Settings
) -> None:
    settings.EGRESS_ALLOW = frozenset({f"127.0.0.1:{canary.port}"})
    given = names("models.example", "127.0.0.1", "127.0.0.2")
    spec = persona(f"http://models.example:{canary.port}/v1", "echo")

    await ask(spec, limits=LIMITS)
    assert given == ["127.0.0.1"]  # once: what was judged is what was connected to
    remembered.forget()
    later = await ask(spec, limits=LIMITS)

    assert later.code == "not_allowed"
    assert len(canary.heard) == 1


def test_judging_first_and_resolving_again_would_be_led_astray(
    canary: Canary, names: Callable[..., list[str]], settings: Settings
) -> None:
    settings.EGRESS_ALLOW = frozenset({f"127.0.0.1:{canary.port}"})
    given = names("models.example", "127.0.0.1", "127.0.0.2")
    url = f"http://models.example:{canary.port}/v1"

    check_url(url)
    with pytest.raises(httpx.HTTPError):
        httpx.get(url, trust_env=False)

    assert given == ["127.0.0.1", "127.0.0.2"]
    assert len(canary.heard) == 1


async def test_the_host_header_stays_that_of_the_address_typed(
    canary: Canary, names: Callable[..., list[str]], settings: Settings
) -> None:
    settings.EGRESS_ALLOW = frozenset({f"127.0.0.1:{canary.port}"})
    names("models.example", "127.0.0.1")

    await ask(persona(f"http://models.example:{canary.port}/v1", "echo"), limits=LIMITS)

    assert f"host: models.example:{canary.port}".encode() in canary.heard[0].lower()


def test_a_proxy_from_the_environment_is_not_asked(
    canary: Canary, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{canary.port}")
    with running() as provider:
        settings.EGRESS_ALLOW = frozenset({provider.address})

        checked = check_connection(kind="openai", base_url=provider.base_url, key=KEY)

    assert checked.ok
    assert canary.heard == []
