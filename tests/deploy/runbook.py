"""The runbook's commands, run as they stand there, with a stand-in for `docker`.

`docker compose exec -T SERVICE COMMAND` and `docker compose run --rm SERVICE COMMAND` run the
command here, with the settings in `maru.env`, and what is `migrate` with those in `owner.env`
before them; PostgreSQL's programs find the test's own by its
variables. `up` brings the database up to date, as it does by way of the service `migrate`. What
else is said to `docker` is written down and does nothing.
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
    """Return the commands of a section, in their order."""
    (section,) = re.findall(
        rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)",
        RUNBOOK.read_text(),
        re.MULTILINE | re.DOTALL,
    )
    found: list[str] = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return found


class Operator:
    """Somebody who sits in a folder like deploy/ and types what the runbook says."""

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
        """Run the lines in a shell that ends at the first which fails; return what they print."""
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

    def said_to_docker(self) -> list[str]:
        """Return what was said to `docker`, in its order."""
        return (self.folder / "docker.log").read_text().splitlines()

    @property
    def settings(self) -> dict[str, str]:
        """What is in `maru.env` now."""
        lines = (self.folder / "maru.env").read_text().splitlines()
        pairs = (line.partition("=") for line in lines if not line.startswith("#"))
        return {name: value for name, _, value in pairs}

    def set(self, **settings: str) -> None:
        """Write settings into `maru.env`, in place of those that were there."""
        lines = [f"{name}={value}" for name, value in {**self.settings, **settings}.items()]
        (self.folder / "maru.env").write_text("\n".join(lines) + "\n")
