"""What the embedded profile makes for itself before anything else: its data folder and key."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

SHORTEST_KEY = 32


def make_folder(data_dir: Path) -> None:
    """See to it that the data folder is there, or end the process with one sentence."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SystemExit(unusable(data_dir, error)) from None


def embedded_secret_key(data_dir: Path) -> str:
    """Return the secret key of this installation, made at the first start.

    Ends the process with one sentence if it can be neither read nor written.
    """
    path = data_dir / "secret_key"
    try:
        if not path.exists():
            _write_once(path, secrets.token_urlsafe(48))
        key = path.read_bytes()
    except OSError as error:
        raise SystemExit(unusable(data_dir, error)) from None
    if len(key) < SHORTEST_KEY or not key.isascii():
        raise SystemExit(
            f"The secret key in {path} is damaged. Restore that file from a backup: "
            "without it, the stored keys of model providers cannot be read."
        )
    return key.decode()


def unusable(data_dir: Path, error: OSError) -> str:
    """Say that the data folder cannot be used, why, and what to do."""
    return (
        f"Maru cannot keep its data in {data_dir}: {error.strerror}. "
        "Make the folder writable, or name another one in MARU_DATA_DIR."
    )


def _write_once(path: Path, text: str) -> None:
    """Write a file that only we may read, whole or not at all; the first writer wins."""
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
