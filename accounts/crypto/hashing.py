"""Secrets that we hand out once and keep only the digest of."""

import hashlib
import secrets


def generate_secret(prefix: str = "") -> str:
    """Return 256 random bits in letters that a URL and a header can carry."""
    return prefix + secrets.token_urlsafe(32)


def hash_secret(secret: str) -> str:
    """Return what is stored of a secret, and looked up by.

    A fast hash is enough for 256 random bits: there is nothing to guess. Looking up by the digest
    also keeps timing mute: how much of a digest agrees says nothing about the secret.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
