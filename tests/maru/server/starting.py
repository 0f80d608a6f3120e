"""Starts a process that is expected to fail, and returns its exit status and output."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.deadlines import DEADLINE
from tests.live import ROOT, Installation

SERVER = ("-m", "maru.server")
MANAGE = (str(ROOT / "manage.py"), "check")


@dataclass(frozen=True)
class FailedStart:
    """Exit status, standard output and standard error of a process that failed to start."""

    status: int
    stdout: str
    stderr: str

    @property
    def sentence(self) -> str:
        """The only line of standard error. Fails if there is any other output."""
        lines = self.stderr.splitlines()
        assert self.status != 0
        assert self.stdout == ""
        assert len(lines) == 1, self.stderr
        return lines[0]


def failed_start(folder: Path, *command: str, **env: str) -> FailedStart:
    """Start Maru in `folder`, where it is expected to end by itself, and wait for its end."""
    # Relative, so that an absolute path in the output is an error.
    settings = {"MARU_DATA_DIR": "var", **env}
    done = subprocess.run(
        [sys.executable, *(command or SERVER)],
        cwd=folder,
        env=Installation(folder, **settings).env,
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE,
        check=False,
    )
    return FailedStart(done.returncode, done.stdout, done.stderr)


def break_crewai(folder: Path) -> dict[str, str]:
    """Return an environment in which importing CrewAI waits for `folder/go`, then fails."""
    module = folder / "broken" / "crewai.py"
    module.parent.mkdir()
    module.write_text(
        "import pathlib, time\n"
        f"while not pathlib.Path({str(folder / 'go')!r}).exists(): time.sleep(0.01)\n"
        "raise ImportError('as the test wants it')\n"
    )
    return {"PYTHONPATH": os.pathsep.join([str(module.parent), str(ROOT), str(ROOT / "platform")])}
