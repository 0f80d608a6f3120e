"""User accounts: creation, profile, password and email."""

import secrets
from collections.abc import Iterator
from typing import Final

from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils.text import slugify
from django.utils.translation import gettext as _

from accounts import rate_limits
from accounts.audit.log import audit
from accounts.errors import Conflict, Invalid, Unavailable
from accounts.hooks import AccessRevoked, access_revoked, account_hooks
from accounts.models import TeamMember, User, Wood
from accounts.names import require_name, search_key
from accounts.scopes import check_not_team_bound

HANDLE_LENGTH: Final = 32
_RANDOM_HANDLES: Final = 20


@transaction.atomic
def create_user(
    *, name: str, email: str, password: str | None = None, verified: bool = False
) -> User:
    """Create an account without permissions; the handle is derived from the name.

    `verified` marks the email as verified; otherwise allauth verifies it. Raises Conflict if the
    email already has an account.
    """
    user = User(name=require_name(name), email=normalize_email(email))
    user.set_password(password)
    _save_with_free_handle(user)
    if verified:
        EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
    audit(user, "user.created", user.pk, after={"verified": verified})
    return user


@transaction.atomic
def update_profile(*, user: User, name: str | None = None, wood: str | None = None) -> User:
    """Change the name and colour of the user; None leaves a value unchanged.

    All teams of the user see the profile, so a team-bound credential may not change it.
    """
    check_not_team_bound(user.scope)
    before = {"name": user.name, "wood": user.wood}
    after = {"name": user.name if name is None else require_name(name), "wood": wood or user.wood}
    if after["wood"] not in Wood.values:
        raise Invalid(fields={"wood": _("Choose one of the colours.")})
    if after == before:
        return user
    rate_limits.consume(rate_limits.PROFILE, user)
    user.name, user.wood = after["name"], after["wood"]
    user.save(update_fields=["name", "wood"])
    if after["name"] != before["name"]:
        memberships = TeamMember.objects.filter(user=user)
        list(memberships.locked().order_by("pk").values_list("pk"))  # in this order everywhere
        memberships.update(name_key=search_key(user.name))
    for hooks in account_hooks:
        hooks.profile_changed(user)
    audit(user, "user.changed", user.pk, before=before, after=after)
    return user


@transaction.atomic
def change_password(*, user: User, password: str) -> None:
    """Set a new password; end all sessions and delete all tokens of the user.

    The view that changes the password starts a new session for the user.
    """
    user.set_password(password)
    user.save(update_fields=["password"])
    _end_access(user)
    audit(user, "user.password_changed", user.pk)


@transaction.atomic
def finish_email_change(*, user: User, old_email: str, session_key: str | None) -> None:
    """End all sessions except `session_key` and delete all tokens, after the email changed."""
    _end_access(user, except_session=session_key)
    before, after = {"email": old_email}, {"email": user.email}
    audit(user, "user.address_changed", user.pk, before=before, after=after)


def normalize_email(email: str) -> str:
    """Return the email as it is stored: trimmed and in lower case. Raises Invalid."""
    normalized = email.strip().lower()
    try:
        validate_email(normalized)
    except ValidationError:
        message = _("Enter a complete email, for example name@example.com.")
        raise Invalid(fields={"email": message}) from None
    return normalized


def handle_candidates(name: str) -> Iterator[str]:
    """Yield handles for `name`: the slug, then the slug with random digits.

    Consecutive numbers would reveal how many other users have the same name.
    """
    slug = slugify(name, allow_unicode=True)[:HANDLE_LENGTH].strip("-_") or "person"
    yield slug
    for _attempt in range(_RANDOM_HANDLES):
        yield f"{slug}-{secrets.randbelow(9_000) + 1_000}"


def _end_access(user: User, *, except_session: str | None = None) -> None:
    """End all sessions but one, delete all tokens and close all connections.

    Connections of the remaining session are closed too, and reconnect.
    """
    ended = UserSession.objects.filter(user=user).exclude(session_key=except_session or "")
    Session.objects.filter(pk__in=ended.values("session_key")).delete()
    ended.delete()
    user.tokens.all().delete()
    access_revoked(AccessRevoked(user_id=user.pk))


def _save_with_free_handle(user: User) -> None:
    """Insert the user with the first free handle.

    A query for a free handle would race with other transactions, so the unique constraint decides.
    """
    for handle in handle_candidates(user.name):
        user.handle = handle
        try:
            with transaction.atomic():
                user.save(force_insert=True)
        except IntegrityError:
            if User.objects.filter(email=user.email).exists():
                message = _("This email already has an account. Sign in instead.")
                raise Conflict(message, fields={"email": message}) from None
        else:
            return
    raise Unavailable
