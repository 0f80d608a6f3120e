"""A real nginx with deploy/nginx.conf, on free ports, with its own certificate."""

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar

import httpx

from tests.cluster.harness.services import Service
from tests.deadlines import DEADLINE
from tests.live import ROOT, free_port

CONFIGURATION = ROOT / "deploy" / "nginx.conf"
NAME = "chat.example.com"


class Nginx(Service):
    """One nginx in front of the web processes that listen on `web_ports`."""

    name: ClassVar[str] = "nginx"
    stop_signal = signal.SIGTERM

    def __init__(self, web_ports: Sequence[int] = ()) -> None:
        super().__init__()
        self.web_ports = web_ports
        self.plain_port = free_port()
        self.certificate = self.folder / "fullchain.pem"

    @property
    def origin(self) -> str:
        return f"https://{NAME}:{self.port}"

    def prepare(self) -> None:
        key = self.folder / "privkey.pem"
        key_options = [
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-x509",
        ]
        named = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}", "-days", "2"]
        files = ["-keyout", str(key), "-out", str(self.certificate)]
        subprocess.run(
            ["openssl", "req", *key_options, *named, *files], check=True, stderr=subprocess.DEVNULL
        )
        (self.folder / "nginx.conf").write_text(self.configuration())

    def configuration(self) -> str:
        """Return deploy/nginx.conf with paths and addresses of the test."""
        text = CONFIGURATION.read_text()
        servers = "".join(f"server 127.0.0.1:{port} max_fails=0;\n" for port in self.web_ports)
        for old, new in (
            (r"(?:server 172\.30\.0\.\d+:8000 max_fails=0;\s*){2}", servers),
            (r"listen 80 ", f"listen 127.0.0.1:{self.plain_port} "),
            (r"listen 443 ", f"listen 127.0.0.1:{self.port} "),
            (r"listen \[::\]:80 ", f"listen [::1]:{self.plain_port} "),
            (r"listen \[::\]:443 ", f"listen [::1]:{self.port} "),
            (r"(https://)?chat\.example\.com\$", f"{self.origin}$"),
            (r"/etc/maru/tls", str(self.folder)),
            (r"/var/log/nginx", str(self.folder)),
            (r"worker_rlimit_nofile \d+;", ""),  # needs privileges
            (r"\nhttp \{", f"\nhttp {{\n{self._folders()}"),
        ):
            text, count = re.subn(old, lambda _, new=new: new, text)  # type: ignore[misc]
            assert count, f"deploy/nginx.conf does not contain {old}"
        return text

    def _folders(self) -> str:
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        return "".join(f"{kind}_temp_path {self.folder / kind};\n" for kind in kinds)

    def command(self) -> list[str]:
        user = "user root;" if os.geteuid() == 0 else ""
        directives = f"{user} daemon off; pid {self.folder / 'pid'};"
        where = ["-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", "stderr"]
        return [_program(), *where, "-g", directives]

    def responds(self) -> bool:
        with suppress(OSError), self.tls() as connection:
            return connection.version() is not None
        return False

    def client(self) -> httpx.Client:
        """Return an HTTP client that connects to the proxy under its host name, without DNS."""
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.port}",
            headers={"Host": f"{NAME}:{self.port}"},
            verify=self.trusting(),
            trust_env=False,
            timeout=DEADLINE,
            event_hooks={"request": [_use_host_name]},
        )

    def trusting(self) -> ssl.SSLContext:
        """Return a TLS context that trusts only this proxy's certificate."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def tls(
        self, name: str = NAME, context: ssl.SSLContext | None = None, *, address: str = "127.0.0.1"
    ) -> ssl.SSLSocket:
        """Open a TLS connection to the proxy with the server name `name`."""
        plain = socket.create_connection((address, self.port), timeout=10)
        try:
            return (context or self.trusting()).wrap_socket(plain, server_hostname=name)
        except BaseException:
            plain.close()
            raise


def _use_host_name(request: httpx.Request) -> None:
    request.extensions["sni_hostname"] = NAME


def missing() -> list[str]:
    """Return the names of missing packages."""
    return [] if os.access(_program(), os.X_OK) else ["nginx"]


def _program() -> str:
    """Return the path of nginx; Debian installs it in /usr/sbin."""
    return shutil.which("nginx") or "/usr/sbin/nginx"
