"""Batched lookup of sessions, for many sockets that connect at once."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from accounts.models import User


def users_for_sessions(keys: Collection[str]) -> dict[str, User]:
    """Return the user of each valid session, by its key, as `django.contrib.auth.get_user` does.

    `keys` are unchecked cookie values. Two queries for any number of keys.
    """
    well_formed = [key for key in keys if key.isascii() and key.isalnum()]
    if not well_formed:
        return {}
    rows = Session.objects.filter(session_key__in=well_formed, expire_date__gt=timezone.now())
    store = SessionStore()
    data_by_key = {row.session_key: store.decode(row.session_data) for row in rows}
    ids = {UUID(data[SESSION_KEY]) for data in data_by_key.values() if SESSION_KEY in data}
    users = User.objects.filter(is_active=True).in_bulk(list(ids))
    found = {}
    for key, data in data_by_key.items():
        user = users.get(UUID(data[SESSION_KEY])) if SESSION_KEY in data else None
        if user is not None and _is_valid(user, data):
            found[key] = user
    return found


def _is_valid(user: User, data: dict[str, Any]) -> bool:
    """Return True if the session's backend is still enabled and the password is unchanged."""
    if data.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return False
    session_hash = data.get(HASH_SESSION_KEY) or ""
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(session_hash, valid) for valid in hashes)
