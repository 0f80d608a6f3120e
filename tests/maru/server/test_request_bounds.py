"""Bounds of one connection: a client that exceeds one delays no other client."""

import re
import time
from collections.abc import Iterator

import pytest
from django.conf import settings

from maru.server import http_protocol
from maru.server.body_gate import ANONYMOUS_BODY_BYTES
from maru.server.http_protocol import HEAD_BYTES, MAX_PIPELINED
from tests.deadlines import scaled
from tests.live import LimitedInstallation, Person, PopulatedRoom
from tests.maru.server.raw_client import RawClient, watching

SECONDS = scaled(0.5)
PROMPTLY = scaled(2)
MEBIBYTE = 1024 * 1024
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"Host: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
POST = b"POST /api/v1/me HTTP/1.1\r\n" + CHUNKED
LOGIN = b"POST /accounts/login/ HTTP/1.1\r\n" + CHUNKED


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedInstallation]:
    """A server that waits half a second for a client."""
    names = ("HEAD_SECONDS", "BODY_SECONDS", "WRITE_SECONDS")
    limits = {f"{http_protocol.__name__}.{name}": SECONDS for name in names}
    limits["maru.server.process.KEEP_ALIVE_SECONDS"] = SECONDS
    with LimitedInstallation(tmp_path_factory.mktemp("bounds"), limits) as started:
        # The first page that is not found loads templates, which may take as long.
        with RawClient(started.port) as client:
            client.send(b"GET /nothing/here HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            client.read_until(rb"\r\n\r\n")
        yield started


@pytest.fixture(scope="module")
def room(server: LimitedInstallation) -> PopulatedRoom:
    return server.populate()[0]


@pytest.fixture(scope="module")
def member(room: PopulatedRoom) -> Person:
    return room.members[0]


def post(path: str, length: int, token: str = "") -> bytes:
    credentials = f"Authorization: Bearer {token}\r\n" if token else ""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{credentials}Content-Length: {length}\r\n"
    return f"{head}Content-Type: application/json\r\n\r\n".encode()


ENDLESS = {
    "path": b"GET /" + b"x" * MEBIBYTE,
    "query": b"GET /healthz?" + b"x" * MEBIBYTE,
    "method": b"X" * MEBIBYTE,
    "header value": GET + b"X: " + b"x" * MEBIBYTE,
    "header name": GET + b"x" * MEBIBYTE,
    "spaces": GET + b"X:" + b" " * MEBIBYTE,
    "many headers": GET + b"a:b\r\n" * 200_000,
    "lines before the request": b"\r\n" * 500_000,
    "upgrade": GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nX: " + b"x" * MEBIBYTE,
    "second request": GET + b"\r\n" + GET + b"X: " + b"x" * MEBIBYTE,
    "trailer value": LOGIN + b"1\r\nx\r\n0\r\nX: " + b"x" * MEBIBYTE,
    "many trailers": LOGIN + b"1\r\nx\r\n0\r\n" + b"a:b\r\n" * 200_000,
    "chunk extension": LOGIN + b"1;" + b"x" * MEBIBYTE,
    "leading zeros of a chunk": LOGIN + b"0" * MEBIBYTE,
}


MALFORMED_TOO = {
    "method": {400},
    "leading zeros of a chunk": {400, 431},
    "second request": {200, 431},  # an unfinished response is completed, and nothing follows it
}


@pytest.mark.parametrize("part", [70_000, 700], ids=["large parts", "small parts"])
@pytest.mark.parametrize("kind", ENDLESS)
def test_endless_head_is_refused_at_the_bound(
    server: LimitedInstallation, kind: str, part: int
) -> None:
    with RawClient(server.port) as client, watching(server) as other:
        client.send(ENDLESS[kind], part)
        *earlier, status = client.statuses()

    assert status in MALFORMED_TOO.get(kind, {431})
    assert earlier in ([], [200])
    assert other.slowest < PROMPTLY


def head_of(size: int) -> bytes:
    return GET + b"X: " + b"x" * (size - len(GET) - len(b"X: \r\n\r\n")) + b"\r\n\r\n"


@pytest.mark.parametrize("part", [100_000, 1_000, 7])
@pytest.mark.parametrize(("size", "status"), [(HEAD_BYTES, b"200"), (HEAD_BYTES + 1, b"431")])
def test_largest_head_is_counted_to_the_byte(
    server: LimitedInstallation, size: int, status: bytes, part: int
) -> None:
    with RawClient(server.port) as client:
        client.send(head_of(size), part)

        assert client.read_until(rb"\r\n\r\n").startswith(b"HTTP/1.1 " + status)


OWING = {
    "nothing": b"",
    "part of the request line": b"GET /hea",
    "part of a header": GET + b"X: y",
    "no end of the head": GET,
    "line ends": b"\r\n\r\n",
    "no body": b"POST /accounts/login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n",
    "part of a body": b"POST /api/v1/me HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
    "part of a large body": post("/api/v1/me", 60_000) + b"{",
    "no chunk": LOGIN,
    "part of a chunk": LOGIN + b"5\r\nxx",
    "no last chunk": POST + b"1\r\nx\r\n",
    "no end of the trailers": POST + b"0\r\nX: y",
    "part of a second request": GET + b"\r\n" + GET,
    "second request without its body": GET + b"\r\n" + LOGIN,
    "body of a static file": b"GET /static/css/base/base.css HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
    "no second request": GET + b"\r\n",
}
DRIPPING = {
    "part of the request line",
    "part of a header",
    "part of a large body",
    "no end of the trailers",
    "part of a second request",
}


def lifetimes(port: int, requests: dict[str, bytes], *, drip: bool) -> dict[str, float]:
    """Open one connection for each request; return the seconds until the server closes it.

    With `drip`, each client sends one more byte ten times in the server's patience.
    """
    clients = {kind: RawClient(port) for kind in requests}
    began, ended = time.monotonic(), dict[str, float]()
    for kind, client in clients.items():
        client.socket.sendall(requests[kind])
        client.socket.setblocking(False)
    while len(ended) < len(clients) and time.monotonic() - began < 3 * PROMPTLY:
        time.sleep(SECONDS / 10)
        for kind in clients.keys() - ended.keys():
            if clients[kind].has_ended(b"x" if drip else b""):
                ended[kind] = time.monotonic() - began
    for kind, client in clients.items():
        client.socket.close()
        assert set(re.findall(rb"HTTP/1\.1 (\d+)", client.received)) <= {b"200", b"408"}, kind
    return ended


@pytest.mark.parametrize("drip", [False, True], ids=["silent", "byte by byte"])
def test_client_that_owes_bytes_is_disconnected(server: LimitedInstallation, *, drip: bool) -> None:
    requests = {kind: sent for kind, sent in OWING.items() if not drip or kind in DRIPPING}
    with watching(server) as other:
        ended = lifetimes(server.port, requests, drip=drip)

    assert requests.keys() - ended.keys() == set()
    assert max(ended.values()) < SECONDS + PROMPTLY
    assert other.slowest < PROMPTLY


def test_idle_client_of_an_early_response_is_disconnected(server: LimitedInstallation) -> None:
    with RawClient(server.port) as client:
        client.send(b"GET /static/css/base/base.css HTTP/1.1\r\nContent-Length: 1\r\n\r\n")
        assert client.read_until(rb"\r\n\r\n").startswith(b"HTTP/1.1 200")
        client.socket.sendall(b"x")  # the body, after the response
        began = time.monotonic()
        client.socket.settimeout(SECONDS + PROMPTLY)
        client.read_to_end()

    assert time.monotonic() - began < SECONDS + PROMPTLY


def test_body_at_the_minimum_rate_is_read(server: LimitedInstallation, member: Person) -> None:
    rate = http_protocol.BODY_BYTES_PER_SECOND
    size = int(2 * SECONDS * rate)
    head = f"POST /api/v1/me HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n"
    with RawClient(server.port) as client:
        client.send(head.encode())
        for _ in range(20):
            client.socket.sendall(b"x" * (size // 20))
            time.sleep(SECONDS / 10)
        client.send(b"x" * (size % 20))

        assert client.read_until(rb"\r\n\r\n").startswith(b"HTTP/1.1 401")


PATHS = ("/api/v1/me", "/accounts/login/", "/", "/nothing/here", "/static/nothing.js", "/healthz")


@pytest.mark.parametrize("path", PATHS)
def test_body_above_the_bound_is_refused_before_it_is_sent(
    server: LimitedInstallation, member: Person, path: str
) -> None:
    for length in (settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1, 300 * MEBIBYTE, 10**18):
        with RawClient(server.port) as client:
            client.send(post(path, length, member.token))

            assert client.read_until(rb"\r\n\r\n").startswith(b"HTTP/1.1 413")


def test_refused_client_that_sends_its_whole_body_can_read_the_response(
    server: LimitedInstallation,
) -> None:
    with RawClient(server.port) as client, watching(server) as other:
        client.socket.sendall(post("/api/v1/me", 50 * MEBIBYTE))
        for _ in range(50):
            client.socket.sendall(b"x" * MEBIBYTE)
        answer = client.read_to_end()

    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"code":"too_large"' in answer
    assert other.slowest < PROMPTLY


def test_chunked_body_is_refused_at_the_bound(server: LimitedInstallation, member: Person) -> None:
    head = POST[:-2] + f"Authorization: Bearer {member.token}\r\n\r\n".encode()
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    with RawClient(server.port) as client:
        client.send(head + chunk * 64, len(chunk))

        assert client.statuses() == [413]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/me", 401),
        ("/api/v1/nothing", 401),
        ("/nothing/here", 404),
        ("/accounts/login/", 413),
        ("/", 403),
    ],
)
def test_large_body_is_not_read_without_credentials(
    server: LimitedInstallation, path: str, status: int
) -> None:
    for token in ("", "maru_wrong"):
        with RawClient(server.port) as client:
            client.send(post(path, ANONYMOUS_BODY_BYTES + 1, token))
            began = time.monotonic()
            found = client.read_until(rb"\r\n\r\n")

            assert found.startswith(f"HTTP/1.1 {status} ".encode())
            assert time.monotonic() - began < PROMPTLY


@pytest.mark.parametrize("length", [ANONYMOUS_BODY_BYTES, MEBIBYTE])
def test_large_body_with_credentials_is_read(
    server: LimitedInstallation, member: Person, length: int
) -> None:
    body = b'{"name": "' + b"x" * (length - 12) + b'"}'
    with RawClient(server.port) as client:
        client.send(post("/api/v1/me", length, member.token).replace(b"POST", b"PATCH") + body)
        answer = client.read_until(rb"}$")

    assert answer.startswith(b"HTTP/1.1 4")
    assert b'"fields"' in answer or b'"invalid"' in answer


def test_client_is_not_asked_for_a_body_that_will_be_refused(server: LimitedInstallation) -> None:
    for length in (ANONYMOUS_BODY_BYTES + 1, 300 * MEBIBYTE):
        head = post("/api/v1/me", length)[:-2] + b"Expect: 100-continue\r\n\r\n"
        with RawClient(server.port) as client:
            client.send(head)

            assert re.match(rb"HTTP/1.1 4(01|13) ", client.read_until(rb"\r\n\r\n"))


def test_trailer_does_not_become_a_header(server: LimitedInstallation, member: Person) -> None:
    request = POST.replace(b"POST", b"GET") + b"0\r\nAuthorization: Bearer %b\r\n\r\n"
    with RawClient(server.port) as client:
        client.send(request % member.token.encode())

        assert client.read_until(rb"\r\n\r\n").startswith(b"HTTP/1.1 401")


def test_pipelined_requests_are_answered_in_order(server: LimitedInstallation) -> None:
    paths = ["/healthz", "/nothing/here"] * (MAX_PIPELINED // 2)
    with RawClient(server.port) as client:
        client.send(
            b"".join(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode() for path in paths)
        )

        assert client.statuses() == [200, 404] * (MAX_PIPELINED // 2)


def test_flood_of_pipelined_requests_is_ended(server: LimitedInstallation) -> None:
    with RawClient(server.port) as client, watching(server) as other:
        for _ in range(100):
            client.send((GET + b"\r\n") * 1_000)
        statuses = client.statuses()

    assert set(statuses) == {200}
    assert len(statuses) <= MAX_PIPELINED + 1
    assert other.slowest < PROMPTLY


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Cookie: x=" + b"x" * 20_000, 403),
        (b"\r\n".join(b"X-%d: y" % number for number in range(1_000)), 403),
        (b"Content-Length: 5", 400),
        (b"Sec-WebSocket-Key: again", 400),
    ],
    ids=["long", "many", "body", "twice"],
)
def test_handshake_with_a_strange_head_is_answered(
    server: LimitedInstallation, headers: bytes, status: int
) -> None:
    with RawClient(server.port) as client:
        client.send(
            b"GET /ws/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" + headers + b"\r\n\r\n"
        )

        assert client.statuses() == [status]


def test_event_stream_outlives_every_time_limit(
    server: LimitedInstallation, room: PopulatedRoom, member: Person
) -> None:
    path = f"/api/v1/rooms/{room.id}/stream?after=0"
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {member.token}\r\n\r\n"
    with RawClient(server.port) as client:
        client.send(head.encode())
        client.read_until(rb"\n:\n")
        time.sleep(3 * SECONDS)
        body = {"text": "late", "personas": []}
        status, _ = server.request("POST", f"/rooms/{room.id}/messages", member.token, body)

        assert status == 201
        assert client.read_until(rb"late").startswith(b"HTTP/1.1 200")
