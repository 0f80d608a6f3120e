"""A page, a form and a socket accept the same hosts and the same origins."""

from collections.abc import Iterator

import pytest

from tests.live import Installation
from tests.maru.server.raw_client import RawClient

TOKEN = "a" * 32
"""The same value as cookie and field is a valid CSRF token."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A server with a public address behind TLS, and no trusted proxy."""
    with Installation(
        tmp_path_factory.mktemp("hosts"),
        MARU_PUBLIC_URL="https://Chat.Example.com:443",
        MARU_HOSTS=".example.org,Office.Example.NET,10.0.0.5,[2001:db8::5],2001:db8::6",
    ) as started:
        yield started


def accepted(server: Installation, host: str, origin: str | None) -> dict[str, bool]:
    """Return for each kind of request whether the server accepts Host and Origin."""
    common = [f"Host: {host}", *([f"Origin: {origin}"] if origin else [])]
    fields = f"csrfmiddlewaretoken={TOKEN}&login=a&password=b"
    form = [
        f"Cookie: maru_csrf={TOKEN}",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {len(fields)}",
    ]
    handshake = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        *([] if origin else ["Authorization: Bearer maru_wrong"]),
    ]
    requests = {
        "page": (["GET /accounts/login/ HTTP/1.1", *common], "", 200),
        "form": (["POST /accounts/login/ HTTP/1.1", *common, *form], fields, 200),
        "socket": (["GET /ws/ HTTP/1.1", *common, *handshake], "", 401),
    }
    found = {}
    for kind, (lines, body, status) in requests.items():
        head = "\r\n".join([*lines, "\r\n"])
        with RawClient(server.port) as client:
            client.send((head + body).encode("latin-1"))
            answer = client.read_until(rb"\r\n\r\n")
        found[kind] = answer.startswith(f"HTTP/1.1 {status} ".encode())
    return found


KNOWN = [
    "chat.example.com",
    "CHAT.Example.Com",
    "chat.example.com.",
    "chat.example.com:443",
    "example.org",
    "a.example.org",
    "A.b.EXAMPLE.org:8000",
    "office.example.net",
    "office.example.net.:80",
    "10.0.0.5",
    "10.0.0.5:8000",
    "[2001:db8::5]",
    "[2001:DB8::5]:8000",
    "[2001:db8::6]",
    "[::1]",
    "[::1]:8000",
    "127.0.0.1",
    "LOCALHOST:1",
]
UNKNOWN = [
    "evil.example",
    "example.com",
    "x.chat.example.com",
    "badexample.org",
    "office.example.net.evil.example",
    "sub.office.example.net",
    "10.0.0.6",
    "2001:db8::5",
    "[2001:db8::7]",
    "[::1",
    "::1",
    "a]b",
    "chat.example.com:x",
    "chat.example.com@evil.example",
    "chat.example.com,evil.example",
    "chat.example.com..",
    "",
    "caf\xe9.example.org",
]


@pytest.mark.parametrize("host", KNOWN)
def test_known_host_is_accepted_by_pages_forms_and_sockets(server: Installation, host: str) -> None:
    for origin in (f"http://{host}", None):
        assert accepted(server, host, origin) == {"page": True, "form": True, "socket": True}


@pytest.mark.parametrize("host", UNKNOWN)
def test_unknown_host_is_refused_by_pages_forms_and_sockets(
    server: Installation, host: str
) -> None:
    for origin in (f"http://{host}", "https://chat.example.com", None):
        assert accepted(server, host, origin) == {"page": False, "form": False, "socket": False}


@pytest.mark.parametrize(
    ("origin", "is_accepted"),
    [
        ("https://chat.example.com", True),
        ("http://chat.example.com", True),  # as the request: no proxy is trusted
        ("https://chat.example.com:443", False),  # a browser leaves out the default port
        ("https://chat.example.com:8443", False),
        ("https://example.com", False),
        ("https://evil.example", False),
        ("http://a.example.org", False),
        ("null", False),
        ("https://chat.example.com.evil.example", False),
        ("https://[", False),
    ],
)
def test_forms_and_sockets_accept_the_same_origins(
    server: Installation, origin: str, *, is_accepted: bool
) -> None:
    found = accepted(server, "chat.example.com", origin)

    assert found == {"page": True, "form": is_accepted, "socket": is_accepted}
