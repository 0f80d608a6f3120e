"""Over TLS the request goes to a fixed address, and the certificate must still be of the name."""

import ssl
from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pytest_django.fixtures import Settings

from agents.engine import answer, warm
from agents.engine_types import Limits
from tests.agents.engine.asking import ask, persona, said
from tests.provider import Provider, running

LIMITS = Limits(seconds=10, tries=1)
NAME = "models.example"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for NAME that signs itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    private = serialization.PrivateFormat.PKCS8
    file = tmp_path_factory.mktemp("tls") / "provider.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, private, plain)
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return file


@pytest.fixture(scope="module")
def served(certificate: Path) -> Iterator[Provider]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with running(tls=context) as provider:
        yield provider


@pytest.fixture
async def provider(
    served: Provider, certificate: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Provider:
    """Every name leads to the provider, and its certificate is trusted."""
    settings.EGRESS_ALLOW = frozenset({served.address})
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    found = [(0, 0, 0, "", ("127.0.0.1", served.port))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    served.forget()
    await warm()
    return served


async def test_the_right_name_is_answered(provider: Provider) -> None:
    heard = await ask(persona(f"https://{NAME}:{provider.port}/v1", "tokens-3"), limits=LIMITS)

    assert heard.text == "t0 t1 t2 "
    assert provider.requests[0].headers["host"] == f"{NAME}:{provider.port}"


@pytest.mark.parametrize("name", ["other.example", "127.0.0.1"])
async def test_another_name_is_told_nothing(provider: Provider, name: str) -> None:
    heard = await ask(persona(f"https://{name}:{provider.port}/v1", "tokens-3"), limits=LIMITS)

    assert heard.code == "provider_unavailable"
    assert provider.requests == []


@pytest.mark.parametrize("model", ["fault-hang-after-1", "fault-endless"])
async def test_a_stop_closes_an_encrypted_connection_too(provider: Provider, model: str) -> None:
    spec = persona(f"https://{NAME}:{provider.port}/v1", model)

    async with aclosing(answer(spec, [said("?")], limits=LIMITS)) as parts:
        await anext(parts)

    assert await provider.until(lambda provider: provider.connections == 0, seconds=1)
