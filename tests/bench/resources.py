"""What the parts stand on: a folder, the stub provider, and one warm server that they share."""

import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import uvloop

from tests.bench.latency.asking import ask
from tests.cluster.harness.services import Postgres, Redis
from tests.live import ROOT, Installation, PopulatedRoom, until

MODEL: Final = "tokens-8"
"""Of the stub: eight words, as soon as it is asked."""
SECRET_KEY: Final = "only-for-this-benchmark-0123456789-abcdefghijklmnopqrstuvwxyz"


class Stage:
    """Whatever is needed is started when it is first asked for, and ended with the run."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack

    def installation(self, name: str, *entry: str, **env: str) -> Installation:
        """Return an installation with a data folder of its own, not yet started."""
        folder = self.folder / name
        folder.mkdir()
        made = Installation(folder, TMPDIR=str(self.folder), **env)
        if entry:
            made.entry = entry
        return made

    def production(self, name: str, *entry: str, **env: str) -> Installation:
        """Return a web process of the production profile on an empty database, not yet started."""
        made = self.installation(
            name,
            *entry,
            MARU_DATABASE_URL=self.postgres.create(name),
            MARU_REDIS_URL=self.redis.url,
            MARU_SECRET_KEY=SECRET_KEY,
            **env,
        )
        made.manage("migrate", "--verbosity", "0")
        return made

    @cached_property
    def postgres(self) -> Postgres:
        """Private, on a free port, for as long as the run lasts."""
        return self._stack.enter_context(Postgres())

    @cached_property
    def redis(self) -> Redis:
        """Private, on a free port, for as long as the run lasts."""
        return self._stack.enter_context(Redis())

    @cached_property
    def provider(self) -> str:
        """The base URL of the stub, in a process of its own as a provider would be."""
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
        """Host and port, as MARU_EGRESS_ALLOW wants them."""
        return self.provider.split("/")[2]

    @cached_property
    def warm(self) -> "Warm":
        """An embedded server whose personas have given their first answers."""
        installation = self.installation("warm", MARU_EGRESS_ALLOW=self.provider_address)
        return warm(self._stack.enter_context(installation), self.provider)


@dataclass(frozen=True)
class Warm:
    """A server with a room that the demo answers, and one that the provider's model answers."""

    installation: Installation
    demo: PopulatedRoom
    provided: PopulatedRoom

    @property
    def pid(self) -> int:
        process = self.installation.process
        assert process is not None
        return process.pid


def warm(installation: Installation, provider: str) -> Warm:
    """Make the rooms of a running server and have each persona answer once."""
    (demo,) = installation.populate(1, 2)
    (provided,) = installation.populate(1, 2, "--provider", provider, "--model", MODEL)
    for room in (demo, provided):
        uvloop.run(_first_answer(installation, room))
    return Warm(installation, demo, provided)


async def _first_answer(installation: Installation, room: PopulatedRoom) -> None:
    async with installation.socket(room.members[0]) as socket:
        await socket.join(room.id)
        await ask(socket, room.id)
