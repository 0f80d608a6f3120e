"""A server in its own process, and clients that use its public interfaces."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, Final, Self
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.deadlines import DEADLINE
from tests.prepared import once

ROOT = Path(__file__).resolve().parents[1]
SQLITE = "maru.sqlite3"
MARU_V1 = Subprotocol("maru.v1")

CLIENT_OPTIONS: Final[dict[str, Any]] = {
    "proxy": None,
    "max_size": None,
    "max_queue": None,  # the client always reads: a client that does not is closed with 4408
    "open_timeout": DEADLINE,
    "ping_interval": None,
}
"""Options of a client that never ends a connection because the machine is slow."""

Frame = dict[str, Any]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Person:
    """A user created by `populate`: id and token."""

    user: str
    token: str


@dataclass(frozen=True)
class PopulatedRoom:
    id: str
    team: str
    members: list[Person]


class Installation:
    """One server in the embedded profile, started on entry and stopped on exit.

    Its first start finds an empty database with Maru's tables, because migrating takes a second.
    """

    entry: Sequence[str] = ("-m", "maru.server")
    is_migrated: ClassVar[bool] = True

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("MARU_")},
            "MARU_DATA_DIR": str(folder / "var"),
            "MARU_PORT": str(self.port),
            "MARU_RATE_LIMITS": "off",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'platform'}",
            **env,
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        """Everything that the server has printed so far."""
        return (self.folder / "server.log").read_text(errors="replace")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop(signal.SIGKILL)  # A server left running would slow all later tests.
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and return when it is ready."""
        self._copy_database()
        with (self.folder / "server.log").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, *self.entry],
                cwd=self.folder,
                env=self.env,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        until(self._is_ready)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal to the server and return when the process has ended."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(DEADLINE)
            self.process = None

    def manage(self, *arguments: str) -> str:
        """Run a management command in the server's environment and return its output."""
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        return done.stdout

    def populate(self, rooms: int = 1, members: int = 2, *options: str) -> list[PopulatedRoom]:
        """Create a team with rooms and members, and return the rooms.

        Skips Django's checks: they would double the time, and `make check` runs them.
        """
        out = self.folder / f"{uuid4().hex}.json"
        sizes = ("--rooms", str(rooms), "--members", str(members))
        self.manage("populate", "--skip-checks", *sizes, "--out", str(out), "--force", *options)
        output = json.loads(out.read_text())
        return [
            PopulatedRoom(room["id"], output["team"], [Person(**m) for m in room["members"]])
            for room in output["rooms"]
        ]

    def request(
        self, method: str, path: str, token: str | None = None, body: Any = None
    ) -> tuple[int, Any]:
        """Send a REST request; return the status and the decoded body."""
        request = urllib.request.Request(f"{self.url}/api/v1{path}", method=method)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE) as response:
                raw = response.read()
                return response.status, json.loads(raw) if raw else None
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    @asynccontextmanager
    async def socket(self, person: Person) -> AsyncIterator["Socket"]:
        """Connect to the WebSocket with a bearer token."""
        async with connect(
            f"ws://127.0.0.1:{self.port}/ws/",
            additional_headers={"Authorization": f"Bearer {person.token}"},
            subprotocols=[MARU_V1],
            **CLIENT_OPTIONS,
        ) as connection:
            yield Socket(connection)

    def _copy_database(self) -> None:
        """Let the first start find a migrated database."""
        if not self.is_migrated or "MARU_DATABASE_URL" in self.env:
            return
        data = Path(self.env["MARU_DATA_DIR"])
        if not (data / SQLITE).exists():
            data.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copy(_migrated_database(), data / SQLITE)

    def _is_ready(self) -> bool:
        """Return True if /healthz answers 200; a worker may still be starting."""
        if self.process is not None and self.process.poll() is not None:
            raise RuntimeError(f"The server has ended:\n{self.output}")
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=DEADLINE) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def setup_link(self) -> str:
        """Return the setup link that the server printed at its first start."""
        found = re.search(r"http://\S+/setup/\S+", self.output)
        if found is None:
            raise RuntimeError(self.output)
        return found.group()


class NewInstallation(Installation):
    """An installation whose first start finds no data folder."""

    is_migrated = False


def _migrated_database() -> Path:
    """Return a migrated SQLite file."""

    def prepare(folder: Path) -> None:
        Installation(folder).manage("migrate", "--verbosity", "0")

    return once("sqlite", prepare) / "var" / SQLITE


class LimitedInstallation(Installation):
    """An installation with other values of constants of the product (tests/server.py)."""

    def __init__(self, folder: Path, limits: Mapping[str, float], **env: str) -> None:
        super().__init__(folder, **env)
        self.entry = ("-m", "tests.server", json.dumps(limits))


class Socket:
    """A WebSocket client that records every received frame."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.frames: list[Frame] = []
        self._refs = count(1)

    async def command(self, kind: str, **fields: Any) -> Frame:
        """Send a command and return its response."""
        ref = str(next(self._refs))
        await self.connection.send(
            json.dumps({"type": kind, "ref": ref, **fields}, ensure_ascii=False)
        )
        return await self.until(lambda frame: frame.get("ref") == ref)

    async def join(self, room: str, after: int | None = None, **live: list[int]) -> Frame:
        return await self.command("room.join", room=room, after=after, live=live)

    async def say(self, room: str, text: str, **fields: Any) -> Frame:
        defaults = {"client_id": str(uuid4()), "reply_to": None, "personas": None}
        return await self.command("message.send", room=room, text=text, **{**defaults, **fields})

    async def until(self, wanted: Callable[[Frame], bool], seconds: float = DEADLINE) -> Frame:
        """Receive frames until `wanted(frame)` is true, and return that frame."""
        async with asyncio.timeout(seconds):
            while True:
                frame = await self.receive()
                if wanted(frame):
                    return frame

    async def until_type(self, kind: str, seconds: float = DEADLINE) -> Frame:
        return await self.until(lambda frame: frame["type"] == kind, seconds)

    async def receive(self) -> Frame:
        frame: Frame = json.loads(await self.connection.recv())
        self.frames.append(frame)
        return frame

    async def received_so_far(self) -> list[Frame]:
        """Return all frames so far. The response to the ping follows every frame sent before it."""
        await self.command("ping")
        return self.frames

    def of_type(self, *kinds: str) -> list[Frame]:
        return [frame for frame in self.frames if frame["type"] in kinds]


def until(condition: Callable[[], bool], seconds: float = DEADLINE) -> None:
    """Poll until `condition` is true; raise TimeoutError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)
