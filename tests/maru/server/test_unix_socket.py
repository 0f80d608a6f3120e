"""MARU_HOST=unix:…: a real process on a Unix socket, and the files that it may replace."""

import http.client
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from websockets.asyncio.client import unix_connect

from maru.server import listener
from tests.deadlines import DEADLINE
from tests.live import CLIENT_OPTIONS, MARU_V1, Installation, Person, Socket
from tests.maru.server.starting import failed_start

HOST, ORIGIN = "chat.example.com", "https://chat.example.com"
FORWARDED = {"X-Forwarded-For": "127.0.0.1, 198.51.100.7", "X-Forwarded-Proto": "https"}


class UnixInstallation(Installation):
    """A server that listens on a Unix socket, behind the public address ORIGIN."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "web.sock"  # sun_path has 108 bytes
        super().__init__(folder, MARU_HOST=f"unix:{self.path}", MARU_PUBLIC_URL=ORIGIN)

    def _is_ready(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise RuntimeError(f"The server has ended:\n{self.output}")
        with suppress(OSError):
            return self.get("/healthz")[0] == 200
        return False

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Return status and body of a GET request over the Unix socket."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(DEADLINE)
            connection.connect(str(self.path))
            client = http.client.HTTPConnection(HOST)
            client.sock = connection
            client.request("GET", path, headers={"Host": HOST, **headers})
            response = client.getresponse()
            return response.status, response.read().decode()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: the path of a Unix socket has at most 107 bytes."""
    with TemporaryDirectory(prefix="maru-", dir="/tmp") as name:
        yield Path(name)


async def test_page_and_socket_are_served_over_a_unix_socket(folder: Path) -> None:
    with UnixInstallation(folder) as server:
        member: Person = server.populate()[0].members[1]
        assert stat.S_IMODE(server.path.stat().st_mode) == 0o660
        assert f"Open this link within one hour to set up Maru:\n{ORIGIN}/setup/" in server.output

        assert server.get("/accounts/login/", **FORWARDED)[0] == 200
        metrics = [server.get("/metrics", **headers)[0] for headers in ({}, FORWARDED)]
        async with unix_connect(
            str(server.path),
            uri=f"ws://{HOST}/ws/",
            origin=ORIGIN,
            additional_headers={"Authorization": f"Bearer {member.token}", **FORWARDED},
            subprotocols=[MARU_V1],
            **{k: v for k, v in CLIENT_OPTIONS.items() if k != "proxy"},
        ) as connection:
            assert (await Socket(connection).command("ping"))["type"]

        second = failed_start(folder, **_settings(server), MARU_DATA_DIR="other")
        assert second.sentence == (
            f"Another process listens on the Unix socket {server.path}. "
            "Stop it, or choose another path with MARU_HOST."
        )

        server.stop(signal.SIGKILL)
        assert server.path.is_socket()
        server.start()
        assert server.get("/healthz")[0] == 200

    assert metrics == [404, 404]
    assert not server.path.exists()


def _settings(server: UnixInstallation) -> dict[str, str]:
    return {name: server.env[name] for name in ("MARU_HOST", "MARU_PUBLIC_URL")}


@pytest.mark.parametrize("kind", ["file", "folder", "link", "other server", "no folder"])
def test_path_that_cannot_be_used_is_one_sentence_and_is_not_changed(
    folder: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "web.sock"
    with socket.socket(socket.AF_UNIX) as other:
        if kind == "file":
            path.write_text("kept")
        elif kind == "folder":
            path.mkdir()
        elif kind == "link":
            path.symlink_to("nothing")
        elif kind == "other server":
            other.bind(str(path))
            other.listen()
        else:
            path = folder / "none" / "web.sock"
        before = path.lstat().st_ino if kind != "no folder" else None

        with pytest.raises(SystemExit) as ended:
            listener.bind(f"unix:{path}", 0)

    expected = {
        "other server": f"Another process listens on the Unix socket {path}. ",
        "no folder": f"Maru cannot create the Unix socket {path}: No such file or directory. ",
    }
    (sentence,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 1
    assert sentence.startswith(expected.get(kind, f"{path} exists and is no socket"))
    assert before is None or path.lstat().st_ino == before


def test_unix_socket_needs_the_public_url(folder: Path) -> None:
    failed = failed_start(folder, MARU_HOST=f"unix:{folder}/web.sock")

    assert "MARU_HOST: is a Unix socket, which needs MARU_PUBLIC_URL as well." in failed.stderr
