"""The first account and team of an installation, created by a one-time setup link."""

from datetime import timedelta
from typing import Final

from django.db import transaction
from django.utils import timezone

from accounts.audit.log import audit, audit_last
from accounts.crypto.hashing import generate_secret, hash_secret
from accounts.errors import NotFound
from accounts.models import SetupLink, Team, User
from accounts.services.teams import create_team
from accounts.services.users import create_user

LIFETIME: Final = timedelta(hours=1)


def is_set_up() -> bool:
    """Return True if the installation has a superuser.

    Other accounts do not count: with open sign-up, a stranger's account must not lock out the
    operator.
    """
    return User.objects.filter(is_superuser=True).exists()


def create_setup_link() -> str | None:
    """Return the token of a new setup link, or None if the installation is set up.

    If it is set up, nothing is written, so that a start does not wait for other writers.
    """
    if is_set_up():
        return None
    token = generate_secret()
    with transaction.atomic():
        SetupLink.objects.filter(expires_at__lte=timezone.now()).delete()
        SetupLink.objects.create(digest=hash_secret(token), expires_at=timezone.now() + LIFETIME)
    return token


def get_setup_link(token: str) -> SetupLink:
    """Return the setup link of `token`. Raises NotFound if it is unknown, used or expired."""
    link = SetupLink.objects.filter(
        digest=hash_secret(token), used_at=None, expires_at__gt=timezone.now()
    ).first()
    if link is None or is_set_up():
        raise NotFound
    return link


@transaction.atomic
@audit_last()
def complete_setup(
    *, token: str, name: str, email: str, password: str | None, team_name: str
) -> tuple[User, Team]:
    """Create the superuser and the first team, and mark the setup link as used."""
    # Lock all setup links: two different links must not both succeed.
    list(SetupLink.objects.select_for_update().order_by("pk").values_list("pk"))
    link = get_setup_link(token)
    link.used_at = timezone.now()
    link.save(update_fields=["used_at"])
    user = create_user(name=name, email=email, password=password, verified=True)
    user.is_staff = user.is_superuser = True
    user.save(update_fields=["is_staff", "is_superuser"])
    team = create_team(user=user, name=team_name)
    after = {"is_staff": True, "is_superuser": True}
    audit(None, "user.changed", user.pk, after=after)
    return user, team
