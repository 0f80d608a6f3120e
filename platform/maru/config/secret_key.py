"""The data folder and the secret key, which the embedded profile creates at its first start."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from maru.config.terminal import give_up

SHORTEST_KEY = 32


def make_folder(data_dir: Path) -> None:
    """Create the data folder if it is missing; end the process with one sentence on failure."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        give_up(unusable(data_dir, error))


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
