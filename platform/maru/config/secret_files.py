"""Secrets that are in files, as Docker, Kubernetes and systemd provide them (`MARU_…_FILE`)."""

from pathlib import Path
from typing import Any, Final

SUFFIX: Final = "_file"
MAX_BYTES: Final = 64 * 1024


def read_files(values: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the settings with each `x_file` read into `x`, and the mistakes: name and sentence."""
    result, mistakes = dict(values), []
    for name, path in values.items():
        setting = name.removesuffix(SUFFIX)
        if setting == name:
            continue
        if setting in values:
            mistakes.append((name, f"is set, and so is MARU_{setting.upper()}; set one of them"))
            continue
        try:
            result[setting] = _read(Path(path))
        except _Unreadable as error:
            mistakes.append((name, str(error)))
    return result, mistakes


class _Unreadable(Exception):
    """The text says why, after the name of the setting."""


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        text = raw.decode().strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise _Unreadable(f"names a file that cannot be read: {reason}") from None
    if not text or len(raw) > MAX_BYTES:
        raise _Unreadable("names a file that is empty, or too long for a secret")
    return text
