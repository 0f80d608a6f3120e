"""A small SMTP server (RFC 5321) with optional STARTTLS (RFC 3207) and AUTH PLAIN (RFC 4954)."""

import ssl
import subprocess
import threading
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Final

USER, PASSWORD = "robot", "CANARY-password"
_ANSWERS: Final = {
    "EHLO": "250",
    "AUTH": "235 ok",
    "MAIL": "250 ok",
    "RCPT": "250 ok",
    "RSET": "250 ok",
    "QUIT": "221 bye",
}


@dataclass
class SmtpStub:
    """What the server offers and answers, and what it has received."""

    tls: ssl.SSLContext | None = None
    """Offers STARTTLS, or speaks TLS from the start if `from_start`."""
    from_start: bool = False
    auth: str = ""
    """Mechanisms that EHLO offers. Over TLS only, if the server has TLS."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """Answers that replace the usual ones, by command; "" closes the connection."""
    silent: bool = False
    port: int = 0
    mails: list[tuple[str, bool]] = field(default_factory=list)
    """Each accepted mail, and whether it came over TLS."""
    signed_in: list[tuple[str, bool]] = field(default_factory=list)
    """Each decoded AUTH PLAIN, and whether it came over TLS."""
    over: threading.Event = field(default_factory=threading.Event)


class _Server(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False  # a client that has failed may keep its connection open


class _Conversation(StreamRequestHandler):
    stub: SmtpStub
    is_tls = False

    def handle(self) -> None:
        stub = self.stub
        if stub.silent:
            stub.over.wait()
            return
        try:
            if stub.from_start:
                self._start_tls()
            self._say(stub.answers.get("CONNECT", "220 stub"))
            while line := self.rfile.readline():
                if not self._answer(line.decode("latin-1").strip()):
                    return
        except (OSError, ValueError):  # the client has ended the conversation
            return

    def _answer(self, line: str) -> bool:
        """Answer one command; return False at the end of the conversation."""
        stub, name = self.stub, line[:4].upper()
        answer = stub.answers.get(name, _ANSWERS.get(name, "500 unknown"))
        if name == "EHLO" and answer == "250":
            answer = self._offer()
        if name == "STAR" and name not in stub.answers:
            self._say("220 go ahead")
            self._start_tls()
            return True
        if name == "AUTH" and line.upper().startswith("AUTH PLAIN "):
            stub.signed_in.append((b64decode(line[11:]).decode(), self.is_tls))
        if name == "DATA" and name not in stub.answers:
            self._say("354 go ahead")
            text = "".join(iter(lambda: self.rfile.readline().decode(), ".\r\n"))
            stub.mails.append((text, self.is_tls))
            answer = "250 accepted"
        self._say(answer)
        return bool(answer) and name != "QUIT"

    def _offer(self) -> str:
        offers = ["stub"]
        if self.stub.tls is not None and not self.is_tls:
            offers.append("STARTTLS")
        elif self.stub.auth:
            offers.append(f"AUTH {self.stub.auth}")
        return "\r\n".join([*(f"250-{each}" for each in offers), "250 HELP"])

    def _start_tls(self) -> None:
        assert self.stub.tls is not None
        self.connection = self.stub.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.is_tls = True

    def _say(self, answer: str) -> None:
        if answer:
            self.connection.sendall(f"{answer}\r\n".encode())

    def finish(self) -> None:
        self.rfile.close()
        self.connection.close()
        super().finish()


@contextmanager
def serving(stub: SmtpStub) -> Iterator[SmtpStub]:
    """Serve on a free port of 127.0.0.1 while the context is open."""
    handler = type("Conversation", (_Conversation,), {"stub": stub})
    with _Server(("127.0.0.1", 0), handler) as server:
        stub.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield stub
        finally:
            stub.over.set()
            server.shutdown()
            thread.join()


def make_certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Return a certificate for 127.0.0.1 that only it itself has signed, and the server's TLS."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    named = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", *kind, *named, *files], check=True, stderr=subprocess.DEVNULL)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context
