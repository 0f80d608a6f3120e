"""Pages over TLS: the address is pinned, and the certificate must be one for the name."""

import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from agents.egress.dns import resolver
from agents.egress.proxy import tls_context
from agents.tools.fetch_page import UNTRUSTED
from tests.agents.egress.certificates import write_certificate
from tests.agents.tools.pages import Web, fetch, open_web

NAME = "pages.example"
OTHER = "other.example"
PUBLIC = "1.1.1.1"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return two certificates for NAME, each with its key: `own` is that of the server."""
    folder = tmp_path_factory.mktemp("tls")
    return {key: write_certificate(folder / f"{key}.pem", NAME) for key in ("own", "foreign")}


@pytest.fixture
async def web(
    certificates: dict[str, Path], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Web]:
    """Serve a page over TLS; every name has a public address."""
    monkeypatch.setattr("agents.egress.dns.resolve", lambda _host, _port: [PUBLIC])
    resolver.clear_cache()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates["own"])
    async with open_web(settings, context) as web:
        web.put("<title>Report</title><p>Over TLS.")
        yield web
    resolver.clear_cache()


@pytest.fixture
def trusted(
    request: pytest.FixtureRequest,
    certificates: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    """Trust the certificate that the test names, as an authority, and no other one."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates[request.param]))
    tls_context.cache_clear()  # it has read the certificates before
    yield
    tls_context.cache_clear()


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("trusted", ["own"], indirect=True)
async def test_a_page_with_a_valid_certificate_is_read_at_the_checked_address(web: Web) -> None:
    result = await fetch(origin=f"https://{NAME}")

    assert not result.failed
    assert result.text == f"Title: Report\nURL: https://{NAME}/\n\nOver TLS."
    assert f"Host: {NAME}\r\n" in web.heads[0]
    assert web.proxy.heads[0].startswith(f"CONNECT {PUBLIC}:443 ")


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("trusted", "host"),
    [
        pytest.param("own", OTHER, id="another name"),
        pytest.param("own", PUBLIC, id="an address"),
        pytest.param("foreign", NAME, id="not trusted"),
    ],
    indirect=["trusted"],
)
async def test_a_page_with_another_certificate_is_refused(web: Web, host: str) -> None:
    result = await fetch(origin=f"https://{host}")

    assert (result.text, result.short, result.failed) == (UNTRUSTED, "refused", True)
    assert len(web.proxy.heads) == 1
    assert web.heads == []


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("trusted", ["own"], indirect=True)
async def test_a_redirect_to_a_name_without_certificate_is_refused(web: Web) -> None:
    web.put(status="302 Found", path="/old", Location=f"https://{OTHER}/")

    result = await fetch("/old", origin=f"https://{NAME}")

    assert (result.text, result.failed) == (UNTRUSTED, True)
    assert len(web.heads) == 1
