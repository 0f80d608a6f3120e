"""Over TLS the connection is pinned to an address, and the certificate must match the name."""

import ssl
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from agents.egress.proxy import tls_context
from agents.engine import answer
from agents.engine_types import Limits
from maru.config.service_urls import parse_proxy_url
from tests.agents.egress.certificates import write_certificate
from tests.agents.egress.connect_proxy import connect_proxy
from tests.agents.engine.answers import ask, persona, user_turn
from tests.deadlines import DEADLINE
from tests.provider import Provider, running

LIMITS = Limits(seconds=DEADLINE, max_attempts=1)
NAME = "models.example"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a self-signed certificate for NAME and its private key."""
    return write_certificate(tmp_path_factory.mktemp("tls") / "provider.pem", NAME)


@pytest.fixture(scope="module")
def module_provider(certificate: Path) -> Iterator[Provider]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with running(tls=context) as provider:
        yield provider


@pytest.fixture
def provider(
    module_provider: Provider,
    crewai_imported: None,
    certificate: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Provider]:
    """Resolve every name to the provider, and trust its certificate."""
    settings.EGRESS_ALLOW = frozenset({module_provider.address})
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    found = [(0, 0, 0, "", ("127.0.0.1", module_provider.port))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    module_provider.clear()
    tls_context.cache_clear()  # it has read the certificates before
    yield module_provider
    tls_context.cache_clear()


async def test_a_matching_name_is_accepted(provider: Provider) -> None:
    result = await ask(persona(f"https://{NAME}:{provider.port}/v1", "tokens-3"), limits=LIMITS)

    assert result.text == "t0 t1 t2 "
    assert provider.requests[0].headers["host"] == f"{NAME}:{provider.port}"


@pytest.mark.parametrize("name", ["other.example", "127.0.0.1"])
async def test_another_name_gets_no_request(provider: Provider, name: str) -> None:
    result = await ask(persona(f"https://{name}:{provider.port}/v1", "tokens-3"), limits=LIMITS)

    assert result.code == "provider_unavailable"
    assert provider.requests == []


@pytest.mark.parametrize(
    ("name", "text"),
    [pytest.param(NAME, "t0 t1 t2 ", id="match"), pytest.param("other.example", "", id="other")],
)
async def test_through_a_proxy_the_certificate_must_match_the_name(
    provider: Provider, settings: Settings, name: str, text: str
) -> None:
    async with connect_proxy() as proxy:
        settings.EGRESS_PROXY = parse_proxy_url(f"http://127.0.0.1:{proxy.port}")
        spec = persona(f"https://{name}:{provider.port}/v1", "tokens-3", temperature=0.5)
        result = await ask(spec, limits=LIMITS)

    assert result.text == text
    assert len(proxy.heads) == 1


@pytest.mark.parametrize("model", ["fault-hang-after-1", "fault-endless"])
async def test_a_stop_closes_a_tls_connection(provider: Provider, model: str) -> None:
    spec = persona(f"https://{NAME}:{provider.port}/v1", model)

    async with aclosing(answer(spec, [user_turn("?")], limits=LIMITS)) as parts:
        await anext(parts)

    assert await provider.until(lambda provider: provider.connections == 0)
