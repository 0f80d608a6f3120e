"""Modes of the data folder and its files: only the user of the process can read them."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from maru.config.secret_key import embedded_secret_key, make_folder
from tests.live import Installation


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """The common umask, under which every user can read a new file."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """Return the mode of the folder (as `.`) and of everything in it."""
    paths = {".": folder, **{path.name: path for path in folder.iterdir()}}
    return {name: stat.S_IMODE(path.stat().st_mode) for name, path in paths.items()}


def test_files_of_a_running_server_are_private(installation: Installation) -> None:
    found = modes(installation.folder / "var")

    assert found.pop(".") == 0o700
    assert {"maru.sqlite3", "maru.sqlite3-wal", "maru.sqlite3-shm", "secret_key"} <= found.keys()
    assert set(found.values()) == {0o600}


def test_new_folders_and_all_later_files_are_private(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"

    make_folder(folder)
    embedded_secret_key(folder)
    (folder / "uploads").mkdir()
    (folder / "later").touch()

    assert modes(folder) == {".": 0o700, "secret_key": 0o600, "uploads": 0o700, "later": 0o600}


def test_folder_and_files_of_an_older_version_become_private(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "maru.sqlite3")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE kept (id)")
        for path in (tmp_path, *tmp_path.iterdir()):
            path.chmod(0o777 if path.is_dir() else 0o664)

        make_folder(tmp_path)

        assert modes(tmp_path).pop(".") == 0o700
        assert len(modes(tmp_path)) == 4
        assert all(mode & 0o077 == 0 for mode in modes(tmp_path).values())


def test_folder_of_several_users_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)

    make_folder(tmp_path)
    embedded_secret_key(tmp_path)

    assert modes(tmp_path) == {".": 0o1777, "secret_key": 0o600}
