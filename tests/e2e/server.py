"""An installation whose users sign in by a session cookie, without a password."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self
from uuid import uuid4

from tests.live import Installation, Person, PopulatedRoom
from tests.provider import Provider


@dataclass
class Server:
    """An installation, the provider of its personas, and the session keys of its users."""

    installation: Installation
    provider: Provider
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.installation.url

    def populate(self, rooms: int, members: int, *models: str) -> list[PopulatedRoom]:
        """Create a team with rooms whose members have a session.

        Each model gets a persona of its name; without models the demo persona answers.
        """
        out = self.installation.folder / f"{uuid4().hex}.json"
        options = [word for model in models for word in ("--model", model)]
        if options:
            options = ["--provider", self.provider.base_url, *options]
        sizes = ("--rooms", str(rooms), "--members", str(members))
        self._run(*sizes, "--out", str(out), "--force", *options)
        output = json.loads(out.read_text())
        self.keys.update(output["sessions"])
        return [
            PopulatedRoom(room["id"], output["team"], [Person(**m) for m in room["members"]])
            for room in output["rooms"]
        ]

    def address(self, room: PopulatedRoom) -> str:
        return f"{self.url}/rooms/{room.id}/"

    def _run(self, *arguments: str) -> None:
        """Run `populate` in a process that serves all calls."""
        process = self._populating
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(arguments) + "\n")
        process.stdin.flush()
        if not process.stdout.readline():
            raise RuntimeError("populate has failed; its error is above")

    @cached_property
    def _populating(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.sessions"],
            cwd=self.installation.folder,
            env={**self.installation.env, "DJANGO_SETTINGS_MODULE": "maru.settings"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if "_populating" in vars(self):
            self._populating.communicate()
