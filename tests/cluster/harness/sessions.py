"""Sessions of users who did not sign in themselves. Needs a set-up Django."""

from collections.abc import Sequence
from datetime import timedelta
from string import ascii_lowercase, digits
from uuid import UUID

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.crypto import get_random_string

from accounts.models import User


def create_sessions(users: Sequence[str]) -> list[str]:
    """Create a session for each user id; return the cookies (`name=value`) in the same order."""
    store = SessionStore()
    by_id = User.objects.in_bulk(users)
    sessions = [
        Session(
            session_key=get_random_string(32, ascii_lowercase + digits),
            session_data=store.encode(
                {
                    SESSION_KEY: str(user.pk),
                    BACKEND_SESSION_KEY: settings.AUTHENTICATION_BACKENDS[0],
                    HASH_SESSION_KEY: user.get_session_auth_hash(),
                }
            ),
            expire_date=timezone.now() + timedelta(days=1),
        )
        for user in (by_id[UUID(pk)] for pk in users)
    ]
    Session.objects.bulk_create(sessions)
    return [f"{settings.SESSION_COOKIE_NAME}={session.session_key}" for session in sessions]
