"""What the parts use: a folder, the stub provider, stores, and one warm server that they share."""

import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import uvloop

from tests.bench.latency.timed_ask import ask
from tests.cluster.harness import SECRET_KEY
from tests.cluster.harness.cluster import migrate
from tests.cluster.harness.services import Postgres, Redis
from tests.live import ROOT, Installation, PopulatedRoom, until

MODEL: Final = "tokens-8"
"""A model of the stub provider: eight tokens without a delay."""


class Resources:
    """Starts each resource at its first use; all of them end with `stack`.

    With `quick`, a part measures less: fewer rounds or samples, the same figures.
    """

    def __init__(self, folder: Path, stack: ExitStack, *, quick: bool = False) -> None:
        self.folder = folder
        self.quick = quick
        self._stack = stack

    def installation(self, name: str, *entry: str, **env: str) -> Installation:
        """Return an installation with a new data folder, not yet started."""
        folder = self.folder / name
        folder.mkdir()
        created = Installation(folder, TMPDIR=str(self.folder), **env)
        if entry:
            created.entry = entry
        return created

    def production(self, name: str, *entry: str, **env: str) -> Installation:
        """Return a web process of the production profile on a new database, not yet started."""
        created = self.installation(
            name,
            *entry,
            MARU_DATABASE_URL=self.postgres.create(name),
            MARU_REDIS_URL=self.redis.url,
            MARU_SECRET_KEY=SECRET_KEY,
            **env,
        )
        migrate(created)
        return created

    @cached_property
    def postgres(self) -> Postgres:
        return self._stack.enter_context(Postgres())

    @cached_property
    def redis(self) -> Redis:
        return self._stack.enter_context(Redis())

    @cached_property
    def provider(self) -> str:
        """The base URL of the stub provider, in a process of its own like a real provider."""
        log = self.folder / "provider.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.provider"], cwd=ROOT, stdout=output
            )
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)
        until(lambda: "/v1\n" in log.read_text())
        return log.read_text().split()[-1]

    @property
    def provider_address(self) -> str:
        """Host and port of the provider, for MARU_EGRESS_ALLOW."""
        return self.provider.split("/")[2]

    @cached_property
    def warm(self) -> "WarmServer":
        """An embedded server whose personas have given their first answers."""
        installation = self.installation("warm", MARU_EGRESS_ALLOW=self.provider_address)
        return warm_up(self._stack.enter_context(installation), self.provider)


@dataclass(frozen=True)
class WarmServer:
    """A running server; the demo answers in one room, a model of the provider in the other."""

    installation: Installation
    demo: PopulatedRoom
    provided: PopulatedRoom

    @property
    def pid(self) -> int:
        process = self.installation.process
        assert process is not None
        return process.pid


def warm_up(installation: Installation, provider: str) -> WarmServer:
    """Create the rooms of a running server and have each persona answer once."""
    (demo,) = installation.populate(1, 2)
    (provided,) = installation.populate(1, 2, "--provider", provider, "--model", MODEL)
    for room in (demo, provided):
        uvloop.run(_first_answer(installation, room))
    return WarmServer(installation, demo, provided)


async def _first_answer(installation: Installation, room: PopulatedRoom) -> None:
    async with installation.socket(room.members[0]) as socket:
        await socket.join(room.id)
        await ask(socket, room.id)
