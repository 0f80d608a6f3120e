"""Secrets that are shown once and stored only as a hash."""

import hashlib
import secrets


def generate_secret(prefix: str = "") -> str:
    """Return `prefix` with 256 random bits in URL-safe base64."""
    return prefix + secrets.token_urlsafe(32)


def hash_secret(secret: str) -> str:
    """Return the SHA-256 hex digest under which a secret is stored and looked up.

    256 random bits cannot be guessed, so no slow password hash is needed. The database compares
    digests, so the timing of a lookup reveals nothing about the secret.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
