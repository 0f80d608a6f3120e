"""An installation whose users sign in by a session cookie, without a password."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
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
        subprocess.run(
            [sys.executable, "-m", "tests.e2e.sessions", *arguments],
            cwd=self.installation.folder,
            env={**self.installation.env, "DJANGO_SETTINGS_MODULE": "maru.settings"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
