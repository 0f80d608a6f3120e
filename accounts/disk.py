"""Detects that a disk is full, in errors of the database and of files."""

import errno
import sqlite3
import time
from typing import Final

from accounts.errors import DiskFull, Unavailable

REMEMBERED_SECONDS: Final = 60

_SQLSTATE: Final = "53100"  # PostgreSQL: disk_full
# SQLite reports SQLITE_FULL for ENOSPC; an I/O error for a quota, and for its shared memory file.
_SQLITE: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE}
)
_ERRNO: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_last_seen: float | None = None


def is_disk_full(error: BaseException) -> bool:
    """Return True if `error`, or the driver's error that Django has wrapped, means a full disk."""
    for each in (error, error.__cause__):
        if isinstance(each, OSError) and each.errno in _ERRNO:
            return True
        if isinstance(each, sqlite3.Error) and getattr(each, "sqlite_errorcode", 0) in _SQLITE:
            return True
        if getattr(each, "sqlstate", None) == _SQLSTATE:
            return True
    return False


def unavailable(error: BaseException) -> Unavailable:
    """Return what the caller is told about an outage. A full disk is remembered for /readyz."""
    global _last_seen
    if not is_disk_full(error):
        return Unavailable()
    _last_seen = time.monotonic()
    return DiskFull()


def was_full_lately() -> bool:
    """Return True if a write of this process has met a full disk in the last REMEMBERED_SECONDS."""
    return _last_seen is not None and time.monotonic() - _last_seen < REMEMBERED_SECONDS
