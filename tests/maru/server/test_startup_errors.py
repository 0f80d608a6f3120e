"""A failed start prints one sentence without a traceback and without absolute paths."""

import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.live import ROOT, Installation
from tests.maru.server.starting import MANAGE, SERVER, FailedStart, failed_start

APPS = ("accounts", "agents", "rooms")
SQUASHED = "name LIKE '0001_squashed_%'"

# Imported by Python at start: reduces SQLite's wait for a lock from 20 seconds.
SHORT_LOCK_TIMEOUT = """
from sqlite3 import dbapi2
connect = dbapi2.connect
dbapi2.connect = lambda *args, **kwargs: connect(*args, **{**kwargs, "timeout": 0.1})
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installation with a migrated, empty database."""
    folder = tmp_path_factory.mktemp("prepared")
    Installation(folder).manage("migrate", "--verbosity", "0")
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    """A copy of the prepared folder, which the test damages."""
    return shutil.copytree(prepared, tmp_path / "copy")


@pytest.fixture
def short_lock_timeout(tmp_path: Path) -> dict[str, str]:
    """Environment variables that shorten the time that SQLite waits for a lock."""
    (tmp_path / "sitecustomize.py").write_text(SHORT_LOCK_TIMEOUT)
    return {"PYTHONPATH": f"{tmp_path}:{ROOT}:{ROOT / 'platform'}"}


def database_of(folder: Path) -> Path:
    return folder / "var" / "maru.sqlite3"


def migrations_of(folder: Path, app: str, condition: str) -> list[str]:
    """Return the names of the recorded migrations of an app that meet the condition in SQL."""
    query = f"SELECT name FROM django_migrations WHERE app = ? AND ({condition})"
    with closing(sqlite3.connect(database_of(folder))) as database:
        return [name for (name,) in database.execute(query, [app])]


def forget_migrations(folder: Path, app: str, condition: str) -> None:
    """Delete the records of these migrations."""
    with closing(sqlite3.connect(database_of(folder))) as database, database:
        database.execute(f"DELETE FROM django_migrations WHERE app = ? AND ({condition})", [app])


@contextmanager
def locked_by_another_program(database: Path) -> Iterator[None]:
    """Hold an exclusive transaction on the database."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("CREATE TABLE IF NOT EXISTS other (id)")
        other.execute("BEGIN EXCLUSIVE")
        yield


def test_port_in_use_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])

        sentence = failed_start(tmp_path, MARU_PORT=port).sentence

    assert sentence == (
        f"Port {port} on 127.0.0.1 is in use. "
        "Stop the program that uses it, or choose another port with MARU_PORT."
    )


def test_address_of_another_machine_is_reported(tmp_path: Path) -> None:
    sentence = failed_start(tmp_path, MARU_HOST="192.0.2.1").sentence

    assert sentence.startswith("Maru cannot listen on 192.0.2.1:")
    assert sentence.endswith("Change MARU_HOST or MARU_PORT.")


@pytest.mark.parametrize("key", ["", "only-for-this-test-0123456789-abcdefghij"])
def test_data_folder_that_cannot_be_created_is_reported(tmp_path: Path, key: str) -> None:
    (tmp_path / "file").write_text("")

    sentence = failed_start(tmp_path, MARU_DATA_DIR="file/data", MARU_SECRET_KEY=key).sentence

    assert sentence == (
        "Maru cannot keep its data in file/data: Not a directory. "
        "Make the folder writable, or name another one in MARU_DATA_DIR."
    )


@pytest.mark.parametrize("name", ["maru.sqlite3", "server.lock", "secret_key"])
def test_data_folder_with_a_file_that_cannot_be_written_is_reported(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "var" / name).mkdir(parents=True)

    sentence = failed_start(tmp_path).sentence

    assert sentence.endswith(("in MARU_DATA_DIR.", "or restore a backup."))
    assert "/" not in sentence


def test_truncated_secret_key_is_reported(folder: Path) -> None:
    (folder / "var" / "secret_key").write_text("short")

    sentence = failed_start(folder).sentence

    assert sentence.startswith("The secret key in var/secret_key is damaged.")


def garbage(database: Path) -> None:
    database.write_bytes(b"This is not a database. " * 400)


def cut_in_half(database: Path) -> None:
    database.write_bytes(database.read_bytes()[: database.stat().st_size // 2])


@pytest.mark.parametrize("damage", [garbage, cut_in_half])
def test_damaged_database_is_reported(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(database_of(folder))

    assert failed_start(folder).sentence == (
        "The database file cannot be used: it is damaged, or the folder is not writable. "
        "Check MARU_DATA_DIR, or restore a backup."
    )


def test_database_from_a_newer_version_is_reported(folder: Path) -> None:
    with closing(sqlite3.connect(database_of(folder))) as database, database:
        database.execute(
            "INSERT INTO django_migrations (app, name, applied) "
            "VALUES ('rooms', '9999_later', '2100-01-01')"
        )

    assert failed_start(folder).sentence == (
        "The database comes from a newer version of Maru. "
        "Start that version, or restore a backup that is older."
    )


@pytest.mark.parametrize("command", [SERVER, (MANAGE[0], "migrate", "--skip-checks")])
@pytest.mark.parametrize("app", APPS)
def test_database_with_a_part_of_the_replaced_migrations_is_reported(
    folder: Path, app: str, command: tuple[str, ...]
) -> None:
    (squashed,) = migrations_of(folder, app, SQUASHED)
    forget_migrations(folder, app, f"{SQUASHED} OR name = '0001_initial'")

    assert failed_start(folder, *command).sentence == (
        "The database comes from an older version of Maru, which this version cannot upgrade. "
        "First run `python manage.py migrate` of a version that has the migration "
        f"{app}.{squashed.removeprefix('0001_squashed_')}."
    )


def test_database_with_all_replaced_migrations_is_taken_over(folder: Path) -> None:
    for app in APPS:
        forget_migrations(folder, app, SQUASHED)

    with Installation(folder):
        pass

    assert all(migrations_of(folder, app, SQUASHED) for app in APPS)


def test_locked_database_is_reported_at_the_first_start(
    tmp_path: Path, short_lock_timeout: dict[str, str]
) -> None:
    database_of(tmp_path).parent.mkdir()

    with locked_by_another_program(database_of(tmp_path)):
        sentence = failed_start(tmp_path, **short_lock_timeout).sentence

    assert sentence.startswith("The database is locked: ")


def test_locked_database_is_reported_at_a_later_start(
    folder: Path, short_lock_timeout: dict[str, str]
) -> None:
    with locked_by_another_program(database_of(folder)):
        sentence = failed_start(folder, **short_lock_timeout).sentence

    assert sentence.startswith("The database is locked: ")


def test_second_server_on_one_data_folder_is_refused(
    installation: Installation, tmp_path: Path
) -> None:
    (tmp_path / "var").symlink_to(installation.folder / "var")

    sentence = failed_start(tmp_path).sentence

    assert sentence.startswith("Another Maru already runs on this data folder.")


def test_worker_in_the_embedded_profile_is_refused(folder: Path) -> None:
    sentence = failed_start(folder, MANAGE[0], "runagents").sentence

    assert "Workers need MARU_REDIS_URL and MARU_DATABASE_URL." in sentence


@pytest.mark.parametrize(
    "stderr",
    [
        "",
        "Traceback (most recent call last):\n  ...\nOSError: [Errno 13] Permission denied\n",
        "Performing system checks\nThe database is locked.\n",
    ],
)
def test_sentence_rejects_other_output(stderr: str) -> None:
    with pytest.raises(AssertionError):
        _ = FailedStart(1, "", stderr).sentence
