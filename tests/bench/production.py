"""Redis and PostgreSQL of Debian, on free ports of the loopback address, for as long as needed."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals
from typing import Final

import psycopg

from tests.live import PATIENCE, free_port, until

POSTGRES: Final = "postgres"
"""The account and the program; the program refuses to run as root."""


def missing() -> list[str]:
    """Name what is not installed of what a production installation needs."""
    found = {"redis-server": shutil.which("redis-server"), "postgresql": _postgres_folder()}
    return [name for name, path in found.items() if not path]


@contextmanager
def services() -> Iterator[dict[str, str]]:
    """Run both, with empty stores, and yield the settings that lead Maru to them."""
    with (
        tempfile.TemporaryDirectory(prefix="maru-bench-") as folder,
        _redis(Path(folder)) as redis_url,
        _postgres(Path(folder)) as database_url,
    ):
        yield {"MARU_REDIS_URL": redis_url, "MARU_DATABASE_URL": database_url}


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    port = str(free_port())
    options = ("--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", str(folder))
    with _running(["redis-server", *options], SIGTERM):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    programs, data, port = _postgres_folder(), folder / "postgres", str(free_port())
    assert programs is not None
    account = _give_to_postgres(folder)
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "maru", "-A", "trust", "-E", "UTF8", "--no-sync"],
        check=True,
        user=account,
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    options = ("-D", str(data), "-p", port, "-h", "127.0.0.1", "-k", str(folder))
    url = f"postgresql://maru@127.0.0.1:{port}/postgres"
    with _running([str(programs / POSTGRES), *options], SIGINT, account):
        until(lambda: _answers(url))
        yield url


@contextmanager
def _running(command: Sequence[str], end: Signals, account: str | None = None) -> Iterator[None]:
    process = subprocess.Popen(
        command, user=account, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.send_signal(end)
        process.wait(PATIENCE)


def _give_to_postgres(folder: Path) -> str | None:
    """Return the account to run PostgreSQL as; None where we may be it ourselves."""
    if os.geteuid() != 0:
        return None
    shutil.chown(folder, POSTGRES)
    return POSTGRES


def _postgres_folder() -> Path | None:
    """Where the programs of the newest version are; Debian keeps them off the path."""
    versions = Path("/usr/lib/postgresql").glob(f"*/bin/{POSTGRES}")
    return max((program.parent for program in versions), default=None)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True
