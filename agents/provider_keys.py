"""Encrypts provider keys at rest: a copy of the database is useless without the secret key."""

import json
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from accounts.crypto.keys import derive_key

_PURPOSE = b"maru: provider keys of connections, version 1"


class KeyUnreadable(Exception):
    """The provider key was encrypted with a secret key that this process does not have."""


def connection_keys(secret_key: str, fallbacks: Sequence[str] = ()) -> list[str]:
    """Return the keys that `encrypt` and `decrypt` use, newest first. Called by the settings."""
    return [derive_key(key, _PURPOSE) for key in (secret_key, *fallbacks)]


def encrypt(key: str) -> str:
    """Return `key` encrypted under the newest secret key."""
    return _fernet().encrypt(key.encode()).decode("ascii")


def decrypt(stored: str) -> str:
    """Return the decrypted key, or raise KeyUnreadable."""
    try:
        return _fernet().decrypt(stored.encode()).decode()
    except InvalidToken as error:
        raise KeyUnreadable from error


def decrypt_headers(stored: str) -> dict[str, str]:
    """Return the decrypted headers of a tool server, or raise KeyUnreadable; none for ""."""
    headers: dict[str, str] = json.loads(decrypt(stored)) if stored else {}
    return headers


def rotate(stored: str) -> str:
    """Return the same key encrypted under the newest secret key, or raise KeyUnreadable."""
    try:
        return _fernet().rotate(stored.encode()).decode("ascii")
    except InvalidToken as error:
        raise KeyUnreadable from error


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.CONNECTION_KEYS])
