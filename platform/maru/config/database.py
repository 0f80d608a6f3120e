"""Whether the database fits this version of Maru, said in one sentence where it does not."""

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NoReturn

from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from maru.config.env import load
from maru.config.secret_key import unusable

CONNECT_SECONDS = 5

_lock: IO[str] | None = None


@contextmanager
def explained() -> Iterator[None]:
    """Within, a database that cannot be used ends the process with one sentence."""
    try:
        yield
    except DatabaseError as error:
        _give_up(_why_not(error))


@explained()
def prepare() -> None:
    """Bring an embedded database up to date; end the process where a database does not fit."""
    if not settings.EMBEDDED:
        _knock()
    executor = MigrationExecutor(connection)
    known = set(executor.loader.disk_migrations)
    if set(executor.loader.applied_migrations) - known:
        _give_up(
            "The database comes from a newer version of Maru. "
            "Start that version, or restore a backup that is older."
        )
    if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return
    if not settings.EMBEDDED:
        _give_up("The database is not up to date. Run `python manage.py migrate` first.")
    call_command("migrate", verbosity=0, interactive=False)


def claim_alone() -> None:
    """Hold the data folder for this process: the embedded profile has one, and only one."""
    global _lock
    folder = load().data_dir
    try:
        _lock = (folder / "server.lock").open("w")
        fcntl.flock(_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _give_up(
            "Another Maru already runs on this data folder. Stop it, or name another folder in "
            "MARU_DATA_DIR. For several processes, set MARU_REDIS_URL and MARU_DATABASE_URL."
        )
    except OSError as error:
        _give_up(unusable(folder, error))


def _knock() -> None:
    """Ask once, directly: a pool goes on asking for a while, and logs each time."""
    postgres: Any = connection  # Any: the common type of all databases hides the driver
    with connection.wrap_database_errors:
        postgres.Database.connect(settings.DATABASE_URL, connect_timeout=CONNECT_SECONDS).close()


def _why_not(error: DatabaseError) -> str:
    if "locked" in str(error):
        return (
            "The database is locked: another program has been writing to it for 20 seconds. "
            "End that program and start again."
        )
    if settings.EMBEDDED:
        return (
            "The database file cannot be used: it is damaged, or the folder is not writable. "
            "Look at MARU_DATA_DIR, or restore a backup."
        )
    return "The database cannot be reached. Look at MARU_DATABASE_URL and whether it runs."


def _give_up(sentence: str) -> NoReturn:
    print(sentence, file=sys.stderr)
    raise SystemExit(1)
