"""Runs the runbook's commands as they are written, with a stand-in for `docker`.

`docker compose exec -T SERVICE COMMAND` and `docker compose run --rm SERVICE COMMAND` run the
command here with the settings in `maru.env`; the service `migrate` also reads `owner.env`.
PostgreSQL's programs find the test's server by environment variables. `up` runs the migration,
as the service `migrate` does. Other calls of `docker` are logged and do nothing.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.cluster.harness.services import Postgres
from tests.live import ROOT

RUNBOOK = ROOT / "deploy" / "RUNBOOK.md"

DOCKER = """#!/bin/sh
echo "$*" >> docker.log
settings=./maru.env
case "$*" in
    "compose run --rm migrate"* | "compose up "*)
        if [ -e owner.env ]; then settings=./owner.env; fi ;;
esac
case "$*" in
    "compose exec -T "* | "compose run --rm "*" "*) shift 4 ;;
    "compose run --rm migrate" | "compose up "*) set -- python manage.py migrate --verbosity 0 ;;
    *) exit 0 ;;
esac
set -a
. ./maru.env
. $settings
exec "$@"
"""
PYTHON = f"""#!/bin/sh
exec {sys.executable} "$@"
"""


def blocks(heading: str) -> list[str]:
    """Return the shell blocks of a section, in order."""
    (section,) = re.findall(
        rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)",
        RUNBOOK.read_text(),
        re.MULTILINE | re.DOTALL,
    )
    found: list[str] = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return found


class Operator:
    """An operator who runs the runbook's commands in a copy of deploy/."""

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self.folder = folder
        programs = folder / "bin"
        programs.mkdir()
        for name, script in (("docker", DOCKER), ("python", PYTHON)):
            (programs / name).write_text(script)
            (programs / name).chmod(0o755)
        (folder / "manage.py").symlink_to(ROOT / "manage.py")
        self.env = {
            **{name: value for name, value in os.environ.items() if name[:5] != "MARU_"},
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(postgres.port),
        }

    def type(self, text: str) -> str:
        """Run the lines in a shell that stops at the first failure; return their output."""
        done = subprocess.run(
            ["sh", "-euc", text],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{text}\n{done.stdout}")
        return done.stdout

    def docker_calls(self) -> list[str]:
        """Return the arguments of each call of `docker`, in order."""
        return (self.folder / "docker.log").read_text().splitlines()

    @property
    def settings(self) -> dict[str, str]:
        """The current content of `maru.env`."""
        lines = (self.folder / "maru.env").read_text().splitlines()
        pairs = (line.partition("=") for line in lines if not line.startswith("#"))
        return {name: value for name, _, value in pairs}

    def set(self, **settings: str) -> None:
        """Set or replace settings in `maru.env`."""
        lines = [f"{name}={value}" for name, value in {**self.settings, **settings}.items()]
        (self.folder / "maru.env").write_text("\n".join(lines) + "\n")
