"""X-Request-Id: only a trusted proxy chooses it, and only a valid one is taken."""

import re
from collections.abc import Iterator

import pytest

from tests.live import Installation
from tests.maru.server.raw_client import RawClient

CHOSEN = "proxy-0123456789.abc_DEF"
INVALID = ["short", "a" * 129, "with space-0123", 'quote"0123456789', "caf\xe9-0123456789", ""]
OURS = re.compile(r"[0-9a-f]{32}")
HANDSHAKE = (
    "GET /ws/ HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "Authorization: Bearer maru_wrong\r\n"
)
PAGE = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
TOO_LARGE = "POST /api/v1/me HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n"
LONG_HEAD = f"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {'x' * 40_000}\r\n"


@pytest.fixture(scope="module")
def behind_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A server that trusts the test as its proxy."""
    folder = tmp_path_factory.mktemp("trusting")
    with Installation(folder, MARU_TRUSTED_PROXIES="127.0.0.1") as started:
        yield started


def answered(server: Installation, request: str, *ids: str) -> tuple[int, str]:
    """Send a request with `ids`; return the status and the only id of the response."""
    lines = "".join(f"X-Request-Id: {each}\r\n" for each in ids)
    first, rest = request.split("\r\n", 1)
    with RawClient(server.port) as client:
        client.send(f"{first}\r\n{lines}{rest}\r\n".encode("latin-1"))
        head = client.read_until(rb"\r\n\r\n").decode("latin-1").partition("\r\n\r\n")[0]
    (found,) = re.findall(r"(?im)^x-request-id: (.*?)\r?$", head)
    return int(head.split(" ")[1]), found


@pytest.mark.parametrize(("request_", "status"), [(PAGE, 200), (HANDSHAKE, 401)])
def test_id_is_taken_only_from_a_trusted_proxy(
    behind_proxy: Installation, installation: Installation, request_: str, status: int
) -> None:
    assert answered(behind_proxy, request_, CHOSEN) == (status, CHOSEN)

    code, found = answered(installation, request_, CHOSEN)
    assert code == status
    assert OURS.fullmatch(found)


@pytest.mark.parametrize("request_", [PAGE, HANDSHAKE], ids=["page", "socket"])
def test_invalid_or_repeated_id_of_a_proxy_is_replaced(
    behind_proxy: Installation, request_: str
) -> None:
    for ids in [*((each,) for each in INVALID), (CHOSEN, CHOSEN), ()]:
        _status, found = answered(behind_proxy, request_, *ids)

        assert OURS.fullmatch(found), ids


@pytest.mark.parametrize(("request_", "status"), [(TOO_LARGE, 413), (LONG_HEAD, 431)])
def test_refusal_of_the_server_itself_always_has_an_id_of_its_own(
    behind_proxy: Installation, installation: Installation, request_: str, status: int
) -> None:
    for server in (behind_proxy, installation):
        code, found = answered(server, request_, CHOSEN)

        assert code == status
        assert OURS.fullmatch(found)
