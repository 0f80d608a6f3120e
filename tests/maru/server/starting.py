"""Starts that are meant to be refused, and what was said about them."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.live import PATIENCE, ROOT, Installation

SERVER = ("-m", "maru.server")
MANAGE = (str(ROOT / "manage.py"), "check")


@dataclass(frozen=True)
class Refusal:
    """How a process ended, and what it said to whoever started it."""

    status: int
    printed: str
    said: str

    @property
    def sentence(self) -> str:
        """The one line that was said. Where more was said, or elsewhere, there is no such line."""
        lines = self.said.splitlines()
        assert self.status != 0
        assert self.printed == ""
        assert len(lines) == 1, self.said
        return lines[0]


def refusal(folder: Path, *command: str, **env: str) -> Refusal:
    """Start Maru in `folder`, where it is expected to end by itself."""
    # Relative: any other path in what is said is one that nobody typed.
    settings = {"MARU_DATA_DIR": "var", **env}
    done = subprocess.run(
        [sys.executable, *(command or SERVER)],
        cwd=folder,
        env=Installation(folder, **settings).env,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    return Refusal(done.returncode, done.stdout, done.stderr)


def break_crewai(folder: Path) -> dict[str, str]:
    """Return an environment in which the import of CrewAI fails once `folder/go` is there."""
    module = folder / "broken" / "crewai.py"
    module.parent.mkdir()
    module.write_text(
        "import pathlib, time\n"
        f"while not pathlib.Path({str(folder / 'go')!r}).exists(): time.sleep(0.01)\n"
        "raise ImportError('as the test wants it')\n"
    )
    return {"PYTHONPATH": os.pathsep.join([str(module.parent), str(ROOT), str(ROOT / "platform")])}
