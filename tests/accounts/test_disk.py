"""Errors that mean a full disk, told apart from other outages."""

import errno
import sqlite3

import psycopg
import pytest
from django.db import OperationalError

from accounts import disk
from accounts.errors import DiskFull, Unavailable


def wrapped(cause: Exception) -> OperationalError:
    """Return the error as Django raises it."""
    error = OperationalError(str(cause))
    error.__cause__ = cause
    return error


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


FULL = [
    wrapped(psycopg.errors.DiskFull()),
    wrapped(sqlite_error(sqlite3.SQLITE_FULL)),
    wrapped(sqlite_error(sqlite3.SQLITE_IOERR_SHMSIZE)),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
]
OTHER = [
    wrapped(psycopg.errors.AdminShutdown()),
    wrapped(sqlite_error(sqlite3.SQLITE_BUSY)),
    OperationalError("the connection is lost"),
    ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
]


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_last_seen", None)


@pytest.mark.parametrize("error", FULL, ids=repr)
def test_full_disk_is_reported_and_remembered(error: Exception) -> None:
    assert not disk.was_full_lately()

    assert isinstance(disk.unavailable(error), DiskFull)
    assert disk.was_full_lately()


@pytest.mark.parametrize("error", OTHER, ids=repr)
def test_other_outage_is_no_full_disk(error: Exception) -> None:
    assert type(disk.unavailable(error)) is Unavailable
    assert not disk.was_full_lately()
