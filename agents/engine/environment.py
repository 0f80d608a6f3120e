"""Settings that must be made before CrewAI is imported: no telemetry, tracing, dotenv or locks."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Final

VARIABLES: Final = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "OTEL_SDK_DISABLED": "true",
    "PYTHON_DOTENV_DISABLED": "true",  # else CrewAI loads the nearest .env into this process
}


_locks: dict[str, RLock] = {}


def prepare() -> None:
    """Set the variables and give CrewAI a temporary folder, which is deleted at exit."""
    folder = tempfile.mkdtemp(prefix="maru-crewai-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ.update(VARIABLES, CREWAI_STORAGE_DIR=folder)
    if not os.access(Path("~").expanduser(), os.W_OK):
        os.environ["HOME"] = folder  # CrewAI creates a folder in HOME when it is imported


def keep_locks_in_process() -> None:
    """Replace CrewAI's locks, which are files in the machine's temporary folder, or Redis keys.

    Call this before CrewAI is imported. The locks protect files in the folder of `prepare`, which
    other processes do not use.
    """
    from crewai_core.lock_store import set_lock_backend  # noqa: PLC0415 - after `prepare`

    set_lock_backend(_lock)


@contextmanager
def _lock(name: str, *, timeout: float) -> Iterator[None]:
    lock = _locks.setdefault(name, RLock())
    if not lock.acquire(timeout=timeout):
        raise TimeoutError
    try:
        yield
    finally:
        lock.release()


def decline_tracing() -> None:
    """Store "no" as the answer to CrewAI's first-run question about tracing.

    Call this before CrewAI is imported. Without a stored answer, CrewAI records every prompt of the
    process for a trace that it offers to upload, even with CREWAI_TRACING_ENABLED=false.
    """
    from crewai_core.user_data import update_user_data  # noqa: PLC0415 - after `prepare`

    update_user_data({"first_execution_done": True, "trace_consent": False})
