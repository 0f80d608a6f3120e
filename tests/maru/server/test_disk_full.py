"""The disk is full: every interface says so, and works again when there is space."""

import json
import os
import resource
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.deadlines import DEADLINE
from tests.live import Installation, PopulatedRoom

SENTENCE = "The server&#x27;s disk is full, so this was not saved."
EMAIL, PASSWORD = "owner@example.com", "ondol-warms-the-floor"


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """A file system of 24 MiB for the data folder, or None if this user must not mount one."""
    folder = tmp_path_factory.mktemp("small") / "var"
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(folder)]
    if os.geteuid() or subprocess.run(options, check=False, stderr=subprocess.DEVNULL).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, mount: Path | None) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("disk")
    with Installation(folder, MARU_DATA_DIR=str(mount or folder / "var")) as started:
        yield started


@pytest.fixture(scope="module")
def room(server: Installation) -> PopulatedRoom:
    """A room, in an installation with one account that can sign in."""
    (server.folder / "password").write_text(PASSWORD)
    account = ("--email", EMAIL, "--team", "Team", "--password-file", "password")
    server.manage("bootstrap", *account)
    return server.populate()[0]


@contextmanager
def full_file_system(server: Installation, mount: Path | None) -> Iterator[None]:
    """Fill the file system (ENOSPC)."""
    if mount is None:
        pytest.skip("this user must not mount a file system")
    filler = mount / "filler"
    try:
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(b"x" * 4_096)
        yield
    finally:
        filler.unlink()


@contextmanager
def exhausted_quota(server: Installation, mount: Path | None) -> Iterator[None]:
    """Forbid the server to write into files (EFBIG), also into its log."""
    assert server.process is not None
    pid, (_soft, hard) = server.process.pid, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


Fault = Callable[[Installation, Path | None], AbstractContextManager[None]]


def sign_in(server: Installation) -> tuple[int, str]:
    """Submit the sign-in form; return the status and the page."""
    token = "a" * 32
    fields = {"login": EMAIL, "password": PASSWORD, "csrfmiddlewaretoken": token}
    headers = {"Cookie": f"maru_csrf={token}", "Referer": server.url}
    with httpx.Client(base_url=server.url, trust_env=False, timeout=DEADLINE) as client:
        answer = client.post("/accounts/login/", data=fields, headers=headers)
    return answer.status_code, answer.text


def readiness(server: Installation) -> tuple[int, object]:
    with urllib.request.urlopen(f"{server.url}/readyz", timeout=DEADLINE) as response:
        return response.status, json.loads(response.read())


@pytest.mark.parametrize("fault", [full_file_system, exhausted_quota])
async def test_full_disk_is_reported_everywhere_until_there_is_space(
    server: Installation, mount: Path | None, room: PopulatedRoom, fault: Fault
) -> None:
    person = room.members[0]
    assert sign_in(server) == (302, "")
    path, kept = f"/rooms/{room.id}/messages", str(uuid4())
    long = "x" * 9_000
    large = {"text": long, "personas": []}
    assert server.request("POST", path, person.token, {"text": kept, "personas": []})[0] == 201

    async with server.socket(person) as socket:
        await socket.join(room.id)
        with fault(server, mount):
            # SQLite may still reuse space that its log has, so the first writes may succeed.
            by_rest = server.request("POST", path, person.token, large)
            while by_rest[0] == 201:
                by_rest = server.request("POST", path, person.token, large)
            by_socket = await socket.say(room.id, long, personas=[])
            while by_socket["type"] == "command.done":
                by_socket = await socket.say(room.id, long, personas=[])
            page = sign_in(server)
            while page[0] == 302:
                page = sign_in(server)
            read = server.request("GET", f"{path}?limit=200", person.token)
            ready = readiness(server)
        done = await socket.say(room.id, "There is space again.", personas=[])

    assert (by_rest[0], by_rest[1]["code"]) == (507, "unavailable")
    assert "disk is full" in by_rest[1]["detail"]
    assert (by_socket["type"], by_socket["code"]) == ("command.refused", "unavailable")
    assert "disk is full" in by_socket["detail"]
    assert page[0] == 507
    assert SENTENCE in page[1]
    assert kept in {message["text"] for message in read[1]["items"]}
    assert ready == (200, {"status": "degraded", "reasons": ["disk"]})
    assert done["type"] == "command.done"
    assert "Traceback" not in server.output
