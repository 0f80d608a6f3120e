"""Second factors for the cast, and the codes that an app would show."""

import time

from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret, hotp_value

from accounts.models import User

STEP = 30


def enable_totp(user: User) -> str:
    """Set up an app for the user; return the secret that it has."""
    secret: str = generate_totp_secret()
    TOTP.activate(user, secret)
    return secret


def totp_code(secret: str, steps: int = 0) -> str:
    """Return what the app shows now, or so many steps later."""
    return f"{hotp_value(secret, int(time.time()) // STEP + steps):06}"
