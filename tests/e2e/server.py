"""An installation that browsers visit: its people can be let in without a password."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from uuid import uuid4

from tests.live import Installation, Person, PopulatedRoom
from tests.provider import Provider


@dataclass
class Server:
    """A running Maru, the provider that its personas ask, and the keys of people's sessions."""

    installation: Installation
    provider: Provider
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.installation.url

    def populate(self, rooms: int, members: int, *models: str) -> list[PopulatedRoom]:
        """Make a team of rooms whose members are signed in.

        Personas answer as these models do, and have their names; without one, the demo answers.
        """
        out = self.installation.folder / f"{uuid4().hex}.json"
        options = [word for model in models for word in ("--model", model)]
        if options:
            options = ["--provider", self.provider.base_url, *options]
        sizes = ("--rooms", str(rooms), "--members", str(members))
        self._run(*sizes, "--out", str(out), "--force", *options)
        made = json.loads(out.read_text())
        self.keys.update(made["sessions"])
        return [
            PopulatedRoom(room["id"], made["team"], [Person(**m) for m in room["members"]])
            for room in made["rooms"]
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
