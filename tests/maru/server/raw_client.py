"""A client that sends any bytes over TCP, and a watcher that measures another client's requests."""

import re
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from tests.deadlines import DEADLINE
from tests.live import Installation


class RawClient:
    """One TCP connection to the server."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self.sent = 0
        self.received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes, part: int = 65_536) -> bool:
        """Send `data` in parts; stop at the first response and return False."""
        for start in range(0, len(data), part):
            self.socket.setblocking(False)
            with suppress(BlockingIOError):
                self.received += self.socket.recv(65_536)
            self.socket.settimeout(DEADLINE)
            if self.received:
                return False
            with suppress(ConnectionError):
                self.socket.sendall(data[start : start + part])
                self.sent += len(data[start : start + part])
        return True

    def read_until(self, pattern: bytes) -> bytes:
        """Return everything received, as soon as it matches; raise EOFError at the end."""
        while not re.search(pattern, self.received):
            piece = self.socket.recv(65_536)
            if not piece:
                raise EOFError(self.received)
            self.received += piece
        return self.received

    def read_to_end(self) -> bytes:
        """Return everything received until the server closes the connection."""
        with suppress(ConnectionError):
            while piece := self.socket.recv(65_536):
                self.received += piece
        return self.received

    def has_ended(self, more: bytes) -> bool:
        """Send `more` without waiting; return True if the server has closed the connection."""
        try:
            self.socket.send(more)
            while piece := self.socket.recv(65_536):
                self.received += piece
        except BlockingIOError:
            return False
        except ConnectionError:
            pass
        return True

    def statuses(self) -> list[int]:
        """Return the statuses of all responses until the server closes the connection."""
        return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3}) ", self.read_to_end())]


class Watcher:
    """The longest response time of another client, in seconds."""

    slowest = 0.0
    requests = 0


@contextmanager
def watching(server: Installation) -> Iterator[Watcher]:
    """Request /healthz again and again from another client while the context is open."""
    watcher, over = Watcher(), threading.Event()

    def watch() -> None:
        while not over.is_set():
            began = time.monotonic()
            with urllib.request.urlopen(f"{server.url}/healthz", timeout=DEADLINE) as response:
                assert response.status == 200
            watcher.slowest = max(watcher.slowest, time.monotonic() - began)
            watcher.requests += 1
            over.wait(0.02)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield watcher
    finally:
        over.set()
        thread.join()
