"""An HTTP server in place of a web process; it returns the headers of each request."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

STREAM = "/api/v1/rooms/1/stream"
FIRST_EVENT = b"data: first\n\n"


class Upstream(BaseHTTPRequestHandler):
    """Returns the request's headers and the length of its body; streams on `STREAM`."""

    release: ClassVar[threading.Event]

    def do_GET(self) -> None:
        if self.path == STREAM:
            self._stream()
        else:
            self._respond()

    def do_POST(self) -> None:
        self._respond()

    def _respond(self) -> None:
        length = len(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = json.dumps({"path": self.path, "length": length, "headers": headers}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        """Send one event and keep the stream open until the test closes it."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(FIRST_EVENT)
        self.wfile.flush()
        self.release.wait()

    def log_message(self, *args: Any) -> None:
        """Print nothing."""


@contextmanager
def upstream() -> Iterator[int]:
    """Serve on a free port and yield the port."""
    Upstream.release = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        Upstream.release.set()
        server.shutdown()
        thread.join()
        server.server_close()
