"""Bounds on open connections: silent ones give way to new ones, busy ones stay."""

import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from maru.server.connections import TOO_MANY, TOO_MANY_OF_ADDRESS, Connections, Slot
from maru.server.refusals import Refusal
from tests.deadlines import scaled
from tests.live import Installation, PopulatedRoom
from tests.maru.server.raw_client import RawClient, watching

PER_ADDRESS = 50
SILENT = 600
PROMPTLY = scaled(2)
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A server that accepts few connections of one address."""
    folder = tmp_path_factory.mktemp("connections")
    bound = str(PER_ADDRESS)
    with Installation(folder, MARU_RATE_LIMITS="on", MARU_CONNECTIONS_PER_ADDRESS=bound) as started:
        yield started


@pytest.fixture(scope="module")
def room(server: Installation) -> PopulatedRoom:
    return server.populate()[0]


@pytest.mark.parametrize(
    ("sent", "count"),
    [
        (b"", SILENT),
        (b"GET /hea", SILENT),
        (b"POST /accounts/login/ HTTP/1.1\r\nContent-Length: 9\r\n\r\n", SILENT),
        (GET, PER_ADDRESS + 10),
    ],
    ids=["nothing", "part of a head", "no body", "no second request"],
)
def test_silent_connections_lock_out_no_client_of_their_address(
    server: Installation, sent: bytes, count: int
) -> None:
    with ExitStack() as stack, watching(server) as other:
        for _ in range(count):
            stack.enter_context(RawClient(server.port)).socket.sendall(sent)
        requests = other.requests
        while other.requests < requests + 5:
            time.sleep(0.01)

    assert other.slowest < PROMPTLY


def test_busy_connections_of_an_address_are_bounded(
    server: Installation, room: PopulatedRoom
) -> None:
    head = (
        f"GET /api/v1/rooms/{room.id}/stream?after=0 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {room.members[0].token}\r\n\r\n"
    )
    with ExitStack() as stack:
        for _ in range(PER_ADDRESS):
            client = stack.enter_context(RawClient(server.port))
            client.send(head.encode())
            client.read_until(rb"\n:\n")
        refused = stack.enter_context(RawClient(server.port))
        answer = refused.read_to_end()
        assert answer.startswith(b"HTTP/1.1 429")
        assert b"retry-after: 1\r\n" in answer

    with RawClient(server.port) as client:
        client.send(GET)
        assert client.read_until(rb"\r\n\r\n").startswith(b"HTTP/1.1 200")


class Peers:
    """Connections with the addresses of peers; records which are closed."""

    def __init__(self, total: int = 100, per_address: int | None = 2, trusted: str = "") -> None:
        self.connections = Connections(total, per_address, [trusted] if trusted else [])
        self.closed: list[str] = []

    def connect(self, address: str | None, name: str = "") -> Slot | Refusal:
        return self.connections.admit(address, lambda: self.closed.append(name))

    def busy(self, address: str | None) -> Slot:
        slot = self.connect(address)
        assert isinstance(slot, Slot)
        slot.is_busy()
        return slot


def test_connection_that_has_waited_longest_is_closed_first() -> None:
    peers = Peers()
    first, second = peers.connect("192.0.2.1", "first"), peers.connect("192.0.2.1", "second")
    assert isinstance(first, Slot)
    assert isinstance(second, Slot)
    first.is_busy()
    first.waits()

    peers.connect("192.0.2.1", "third")
    peers.connect("192.0.2.2", "elsewhere")

    assert peers.closed == ["second"]


def test_new_connection_is_refused_while_all_others_are_busy() -> None:
    peers = Peers()
    busy = [peers.busy("192.0.2.1") for _ in range(2)]

    assert peers.connect("192.0.2.1") == TOO_MANY_OF_ADDRESS
    assert isinstance(peers.connect("192.0.2.2"), Slot)
    busy[0].release()
    assert isinstance(peers.connect("192.0.2.1"), Slot)


def test_connections_of_all_addresses_have_a_bound() -> None:
    peers = Peers(total=3)
    for number in range(3):
        peers.busy(f"192.0.2.{number}")

    assert peers.connect("192.0.2.9") == TOO_MANY
    assert peers.connect(None) == TOO_MANY


@pytest.mark.parametrize(
    ("address", "other"),
    [
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"),
        ("fe80::1%eth0", "fe80::2"),
    ],
)
def test_addresses_of_one_client_share_a_bound(address: str, other: str) -> None:
    peers = Peers()
    peers.busy(address)
    peers.busy(other)

    assert peers.connect(other) == TOO_MANY_OF_ADDRESS


@pytest.mark.parametrize("peer", ["10.0.0.7", "::ffff:10.0.0.7", None, ""])
def test_trusted_proxies_and_unix_sockets_count_only_in_total(peer: str | None) -> None:
    peers = Peers(total=5, trusted="10.0.0.0/8")
    for _ in range(5):
        peers.busy(peer)

    assert peers.connect(peer) == TOO_MANY


def test_addresses_without_connections_are_forgotten() -> None:
    peers = Peers(per_address=1)
    for number in range(1_000):
        slot = peers.connect(f"198.51.{number // 250}.{number % 250}")
        assert isinstance(slot, Slot)
        slot.release()
        slot.release()

    assert peers.connections._addresses == {}  # this must not grow


def test_limit_of_open_files_bounds_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    from maru.server import connections

    limits = [256, 1_024]
    monkeypatch.setattr(resource, "getrlimit", lambda _what: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _what, new: limits.__setitem__(0, new[0]))

    assert connections.allowed_by_system(10_000) == 1_024 - connections.RESERVED_FILES
    assert limits == [1_024, 1_024]
    assert connections.allowed_by_system(100) == 100
