"""Encryption of second factors: read access to the database must not allow sign-in."""

from collections.abc import Callable
from typing import Any, Final

from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import transaction

from accounts.crypto.keys import derive_key

_PURPOSE: Final = b"maru: secrets of second factors, version 1"
_ENCRYPTED: Final = ("secret", "seed", "migrated_codes")
"""Keys of `Authenticator.data` whose values allauth encrypts: one text, or a list of texts."""


class SecretUnreadable(Exception):
    """The secret was encrypted with a secret key that this process does not have."""


def encrypt(text: str) -> str:
    """Return `text` encrypted under the newest secret key."""
    return _fernet().encrypt(text.encode()).decode("ascii")


def decrypt(stored: str) -> str:
    """Return the decrypted text, or raise SecretUnreadable."""
    try:
        return _fernet().decrypt(stored.encode()).decode()
    except InvalidToken as error:
        raise SecretUnreadable from error


@transaction.atomic
def rotate_factors() -> int:
    """Encrypt every secret with the newest secret key; return the number of encrypted factors.

    Unreadable secrets do not change: see `find_unreadable_factors`.
    """
    rotated = 0
    for factor in Authenticator.objects.select_for_update().order_by("pk"):
        try:
            data = _with_secrets(factor.data, _rotate)
        except SecretUnreadable:
            continue
        if data != factor.data:
            factor.data = data
            factor.save(update_fields=["data"])
            rotated += 1
    return rotated


def find_unreadable_factors() -> list[int]:
    """Return the ids of the second factors whose secrets this process cannot decrypt."""
    unreadable = []
    for factor in Authenticator.objects.order_by("pk").iterator():
        try:
            _with_secrets(factor.data, decrypt)
        except SecretUnreadable:
            unreadable.append(factor.pk)
    return unreadable


def _with_secrets(data: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Return `data` with `change` applied to each encrypted text."""
    changed = dict(data)
    for name in set(data).intersection(_ENCRYPTED):
        value = data[name]
        changed[name] = [change(one) for one in value] if isinstance(value, list) else change(value)
    return changed


def _rotate(stored: str) -> str:
    try:
        return _fernet().rotate(stored.encode()).decode("ascii")
    except InvalidToken as error:
        raise SecretUnreadable from error


def _fernet() -> MultiFernet:
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return MultiFernet([Fernet(derive_key(secret, _PURPOSE)) for secret in secrets])
