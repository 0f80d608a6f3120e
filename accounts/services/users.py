"""Accounts: made, changed, suspended."""

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
from accounts.hooks import followers
from accounts.models import User, Wood
from accounts.names import required_name
from accounts.revocation import Ending, access_ended
from accounts.scopes import check_not_team_bound

HANDLE_LENGTH: Final = 32
_TRIES: Final = 20


@transaction.atomic
def create_user(
    *, name: str, email: str, password: str | None = None, verified: bool = False
) -> User:
    """Make an account with no rights at all.

    The handle comes from the name, never from the address. `verified` takes the address as proven;
    else allauth proves it. Raises Conflict if the address has an account.
    """
    user = User(name=required_name(name), email=normalize_email(email))
    user.set_password(password)
    _insert(user)
    if verified:
        EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
    audit(user, "user.created", user.pk, after={"verified": verified})
    return user


@transaction.atomic
def update_profile(*, user: User, name: str | None = None, wood: str | None = None) -> User:
    """Change how others see the user; None leaves a thing as it is.

    Others see it in every team, so a token that is bound to one may not.
    """
    check_not_team_bound(user.scope)
    before = {"name": user.name, "wood": user.wood}
    after = {"name": user.name if name is None else required_name(name), "wood": wood or user.wood}
    if after["wood"] not in Wood.values:
        raise Invalid(fields={"wood": _("Choose one of the colours.")})
    if after == before:
        return user
    rate_limits.consume(rate_limits.PROFILE, user)
    user.name, user.wood = after["name"], after["wood"]
    user.save(update_fields=["name", "wood"])
    for follower in followers():
        follower.profile_changed(user)
    audit(user, "user.changed", user.pk, before=before, after=after)
    return user


@transaction.atomic
def change_password(*, user: User, password: str) -> None:
    """Set a new password and end everything that came in before it, tokens too."""
    user.set_password(password)
    user.save(update_fields=["password"])
    _end_access(user)  # whoever is at the page for it goes on under a new session
    audit(user, "user.password_changed", user.pk)


@transaction.atomic
def finish_email_change(*, user: User, before: str, session_key: str | None) -> None:
    """End what came in under the address before, tokens too, but for the session that moved it."""
    _end_access(user, but=session_key)
    then, now = {"email": before}, {"email": user.email}
    audit(user, "user.finish_email_change", user.pk, before=then, after=now)


@transaction.atomic
def suspend_user(*, person: User, user: User | None = None) -> None:
    """Shut somebody out of everything, at once, until the account is made active again.

    `user` None is whoever runs the server.
    """
    person.is_active = False
    person.save(update_fields=["is_active"])
    access_ended(Ending(user_id=person.pk))
    audit(user, "user.suspended", person.pk)


def normalize_email(email: str) -> str:
    """Return the address as accounts have it; raises Invalid for what is none."""
    address = email.strip().lower()
    try:
        validate_email(address)
    except ValidationError:
        raise Invalid(fields={"email": _("Write a whole address: name@example.com")}) from None
    return address


def handle_candidates(name: str) -> Iterator[str]:
    """Yield handles to try for a name: the plain one, then some with random figures.

    Counting up would tell strangers how many others have the name.
    """
    plain = slugify(name, allow_unicode=True)[:HANDLE_LENGTH].strip("-_") or "person"
    yield plain
    for _try in range(_TRIES):
        yield f"{plain}-{secrets.randbelow(9_000) + 1_000}"


def _end_access(user: User, *, but: str | None = None) -> None:
    """End each session, but for one, and each token; rows that are gone are found by a sweep, too.

    Sockets of the session that stays close with the others, and come in again.
    """
    ended = UserSession.objects.filter(user=user).exclude(session_key=but or "")
    Session.objects.filter(pk__in=ended.values("session_key")).delete()
    ended.delete()
    user.tokens.all().delete()
    access_ended(Ending(user_id=user.pk))


def _insert(user: User) -> None:
    """Save under the first free handle. Asking first would leave a gap for somebody else."""
    for handle in handle_candidates(user.name):
        user.handle = handle
        try:
            with transaction.atomic():
                user.save(force_insert=True)
        except IntegrityError:
            if User.objects.filter(email=user.email).exists():
                raise Conflict(
                    _("This address has an account. Sign in instead."),
                    fields={"email": _("This address has an account. Sign in instead.")},
                ) from None
        else:
            return
    raise Unavailable
