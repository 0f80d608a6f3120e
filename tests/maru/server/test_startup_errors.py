"""Whatever stands in the way of a start is said in one sentence, without a trace or a path."""

import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.live import ROOT, Installation
from tests.maru.server.starting import MANAGE, Refusal, refusal

# Loaded by Python itself: SQLite then waits for a lock as long as a test wants to, not 20 seconds.
IMPATIENT = """
from sqlite3 import dbapi2
connect = dbapi2.connect
dbapi2.connect = lambda *args, **kwargs: connect(*args, **{**kwargs, "timeout": 0.1})
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installation whose database is up to date and empty."""
    folder = tmp_path_factory.mktemp("prepared")
    Installation(folder).manage("migrate", "--verbosity", "0")
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    """A copy of the prepared folder, to be spoilt."""
    return shutil.copytree(prepared, tmp_path / "copy")


@pytest.fixture
def impatience(tmp_path: Path) -> dict[str, str]:
    """The environment in which nobody waits long for a lock."""
    (tmp_path / "sitecustomize.py").write_text(IMPATIENT)
    return {"PYTHONPATH": f"{tmp_path}:{ROOT}:{ROOT / 'platform'}"}


def database_of(folder: Path) -> Path:
    return folder / "var" / "maru.sqlite3"


@contextmanager
def written_to(database: Path) -> Iterator[None]:
    """Another program writes, and does not come to an end."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("CREATE TABLE IF NOT EXISTS theirs (id)")
        other.execute("BEGIN EXCLUSIVE")
        yield


def test_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])

        sentence = refusal(tmp_path, MARU_PORT=port).sentence

    assert sentence == (
        f"Port {port} on 127.0.0.1 is in use. "
        "End what listens there, or choose another port with MARU_PORT."
    )


def test_address_that_is_not_ours(tmp_path: Path) -> None:
    sentence = refusal(tmp_path, MARU_HOST="192.0.2.1").sentence

    assert sentence.startswith("Maru cannot listen on 192.0.2.1:")
    assert sentence.endswith("Change MARU_HOST or MARU_PORT.")


@pytest.mark.parametrize("key", ["", "only-for-this-test-0123456789-abcdefghij"])
def test_data_folder_that_cannot_be_made(tmp_path: Path, key: str) -> None:
    (tmp_path / "file").write_text("")

    sentence = refusal(tmp_path, MARU_DATA_DIR="file/data", MARU_SECRET_KEY=key).sentence

    assert sentence == (
        "Maru cannot keep its data in file/data: Not a directory. "
        "Make the folder writable, or name another one in MARU_DATA_DIR."
    )


@pytest.mark.parametrize("name", ["maru.sqlite3", "server.lock", "secret_key"])
def test_data_folder_in_which_a_file_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "var" / name).mkdir(parents=True)

    sentence = refusal(tmp_path).sentence

    assert sentence.endswith(("in MARU_DATA_DIR.", "or restore a backup."))
    assert "/" not in sentence


def test_secret_key_that_was_cut_short(folder: Path) -> None:
    (folder / "var" / "secret_key").write_text("short")

    sentence = refusal(folder).sentence

    assert sentence.startswith("The secret key in var/secret_key is damaged.")


def garbage(database: Path) -> None:
    database.write_bytes(b"This is not a database. " * 400)


def cut_in_half(database: Path) -> None:
    database.write_bytes(database.read_bytes()[: database.stat().st_size // 2])


@pytest.mark.parametrize("damage", [garbage, cut_in_half])
def test_damaged_database(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(database_of(folder))

    assert refusal(folder).sentence == (
        "The database file cannot be used: it is damaged, or the folder is not writable. "
        "Look at MARU_DATA_DIR, or restore a backup."
    )


def test_database_from_a_newer_version(folder: Path) -> None:
    with closing(sqlite3.connect(database_of(folder))) as database, database:
        database.execute(
            "INSERT INTO django_migrations (app, name, applied) "
            "VALUES ('rooms', '9999_later', '2100-01-01')"
        )

    assert refusal(folder).sentence == (
        "The database comes from a newer version of Maru. "
        "Start that version, or restore a backup that is older."
    )


def test_database_that_is_written_to_at_the_first_start(
    tmp_path: Path, impatience: dict[str, str]
) -> None:
    database_of(tmp_path).parent.mkdir()

    with written_to(database_of(tmp_path)):
        sentence = refusal(tmp_path, **impatience).sentence

    assert sentence.startswith("The database is locked: ")


def test_database_that_is_written_to_at_a_later_start(
    folder: Path, impatience: dict[str, str]
) -> None:
    with written_to(database_of(folder)):
        sentence = refusal(folder, **impatience).sentence

    assert sentence.startswith("The database is locked: ")


def test_second_server_on_one_data_folder(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "var").symlink_to(installation.folder / "var")

    sentence = refusal(tmp_path).sentence

    assert sentence.startswith("Another Maru already runs on this data folder.")


def test_worker_beside_an_embedded_server(folder: Path) -> None:
    sentence = refusal(folder, MANAGE[0], "runagents").sentence

    assert "Workers need MARU_REDIS_URL and MARU_DATABASE_URL." in sentence


@pytest.mark.parametrize(
    "said",
    [
        "",
        "Traceback (most recent call last):\n  ...\nOSError: [Errno 13] Permission denied\n",
        "Performing system checks\nThe database is locked.\n",
    ],
)
def test_more_or_less_than_a_sentence_is_noticed(said: str) -> None:
    with pytest.raises(AssertionError):
        _ = Refusal(1, "", said).sentence
