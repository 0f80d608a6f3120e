"""Checks at start that the database is reachable and has the schema of this version.

Every failure ends the process with one sentence on standard error and exit status 1.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from maru.config import postgres
from maru.config.env import load
from maru.config.secret_key import unusable
from maru.config.terminal import give_up

_lock: IO[str] | None = None


@contextmanager
def explained() -> Iterator[None]:
    """End the process with one sentence if the block raises `DatabaseError`."""
    try:
        yield
    except DatabaseError as error:
        give_up(_why_not(error))


@explained()
def prepare() -> None:
    """Migrate an embedded database; end the process if a production database is not migrated."""
    if not settings.EMBEDDED:
        postgres.check_reachable()
    check_not_too_old()
    executor = MigrationExecutor(connection)
    replaced = [key for each in executor.loader.replacements.values() for key in each.replaces]
    known = {*executor.loader.disk_migrations, *replaced}
    if set(executor.loader.applied_migrations) - known:
        give_up(
            "The database comes from a newer version of Maru. "
            "Start that version, or restore a backup that is older."
        )
    if settings.EMBEDDED:
        executor.check_replacements()  # records them; `migrate` does this in production
    if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return
    if not settings.EMBEDDED:
        give_up("The database is not up to date. Run `python manage.py migrate` first.")
    call_command("migrate", verbosity=0, interactive=False)


@explained()
def check_not_too_old() -> None:
    """End the process if the database lacks some of the migrations that one migration replaces.

    Django would skip the migration that replaces them, or fail with a traceback.
    """
    loader = MigrationLoader(connection, load=False)
    loader.load_disk()
    applied = MigrationRecorder(connection).applied_migrations().keys()
    for migration in loader.disk_migrations.values():
        missing = {*migration.replaces} - applied
        if 0 < len(missing) < len(migration.replaces):
            give_up(
                "The database comes from an older version of Maru, which this version cannot "
                "upgrade. First run `python manage.py migrate` of a version that has the migration "
                f"{'.'.join(migration.replaces[-1])}."
            )


def lock_data_folder() -> None:
    """Lock the data folder until the process ends: the embedded profile has exactly one process.

    Ends the process if another process holds the lock.
    """
    global _lock
    folder = load().data_dir
    try:
        _lock = (folder / "server.lock").open("w")
        fcntl.flock(_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        give_up(
            "Another Maru already runs on this data folder. Stop it, or name another folder in "
            "MARU_DATA_DIR. For several processes, set MARU_REDIS_URL and MARU_DATABASE_URL."
        )
    except OSError as error:
        give_up(unusable(folder, error))


def _why_not(error: DatabaseError) -> str:
    if "locked" in str(error):
        return (
            "The database is locked: another program has been writing to it for 20 seconds. "
            "Stop that program, then start Maru again."
        )
    if settings.EMBEDDED:
        return (
            "The database file cannot be used: it is damaged, or the folder is not writable. "
            "Check MARU_DATA_DIR, or restore a backup."
        )
    if isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege):
        return (
            "The role in MARU_DATABASE_URL may not use Maru's tables. "
            "Run deploy/app_role.sql again as the owner of the tables."
        )
    if isinstance(error.__cause__, psycopg.Error):
        return postgres.why_unreachable(error.__cause__)
    return "The database cannot be reached. Check that it runs, and check MARU_DATABASE_URL."
