"""The data folder and the secret key, which the embedded profile creates at its first start."""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from maru.config.terminal import give_up

SHORTEST_KEY = 32

_FILES = ("*.sqlite3*", "secret_key", "server.lock")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_folder(data_dir: Path) -> None:
    """Create the data folder if it is missing; end the process with one sentence on failure.

    The folder and every file that this process creates are private to its user.
    """
    os.umask(0o077)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        _make_private(data_dir)
    except OSError as error:
        give_up(unusable(data_dir, error))


def _make_private(data_dir: Path) -> None:
    """Remove the access of other users to the folder and files of an older version.

    A folder with the sticky bit, such as /tmp, belongs to several users and is not changed.
    """
    files = [path for name in _FILES for path in data_dir.glob(name)]
    for path in [data_dir, *files]:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _OTHERS and not mode & stat.S_ISVTX and path != path.parent:
            with suppress(PermissionError):  # another user owns it, and has chosen its mode
                path.chmod(mode & ~_OTHERS)


def embedded_secret_key(data_dir: Path) -> str:
    """Return the secret key of this installation; create it at the first start.

    Ends the process with one sentence if the key cannot be read or written.
    """
    path = data_dir / "secret_key"
    try:
        if not path.exists():
            _write_once(path, secrets.token_urlsafe(48))
        key = path.read_bytes()
    except OSError as error:
        give_up(unusable(data_dir, error))
    if len(key) < SHORTEST_KEY or not key.isascii():
        give_up(
            f"The secret key in {path} is damaged. Restore that file from a backup: "
            "without it, the stored keys of model providers cannot be read."
        )
    return key.decode()


def unusable(data_dir: Path, error: OSError) -> str:
    """Return the sentence for a data folder that cannot be used: the reason and what to do."""
    return (
        f"Maru cannot keep its data in {data_dir}: {error.strerror}. "
        "Make the folder writable, or name another one in MARU_DATA_DIR."
    )


def _write_once(path: Path, text: str) -> None:
    """Write a file with mode 0600 atomically; if the file exists, do not change it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        os.fsync(file.fileno())
    try:
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
