"""Keys derived from the secret key, one for each purpose."""

import base64

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def derive_key(secret: str, purpose: bytes) -> str:
    """Return a Fernet key derived by HKDF-SHA256 (RFC 5869), with `purpose` as its info.

    A key of one purpose reveals neither the secret nor the key of another purpose. Sessions are
    signed with the secret itself.
    """
    material = HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret.encode())
    return base64.urlsafe_b64encode(material).decode("ascii")
