"""Authenticator apps of test users, and the codes that they show."""

import time

from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret, hotp_value

from accounts.models import User

STEP = 30


def enable_totp(user: User) -> str:
    """Set up an authenticator app for the user; return its secret."""
    secret: str = generate_totp_secret()
    TOTP.activate(user, secret)
    return secret


def totp_code(secret: str, steps: int = 0) -> str:
    """Return the code of the app, now or `steps` periods of 30 seconds later."""
    return f"{hotp_value(secret, int(time.time()) // STEP + steps):06}"
