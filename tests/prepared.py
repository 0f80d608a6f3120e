"""Folders that are prepared once for all test processes of a run; tests copy them."""

import atexit
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

VARIABLE = "TEST_PREPARED"
"""The folder with the others. The first process creates it; the processes it starts inherit it."""


@cache
def root() -> Path:
    """Return the folder of this run. The process that created it removes it at its exit."""
    if VARIABLE not in os.environ:
        os.environ[VARIABLE] = tempfile.mkdtemp(prefix="maru-prepared-")
        atexit.register(shutil.rmtree, os.environ[VARIABLE], ignore_errors=True)
    return Path(os.environ[VARIABLE])


def once(name: str, prepare: Callable[[Path], None]) -> Path:
    """Return a folder that `prepare` has filled: in this process, or in another one of this run."""
    folder = root() / name
    with (root() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            filling = Path(tempfile.mkdtemp(dir=root()))
            prepare(filling)
            filling.rename(folder)
    return folder
