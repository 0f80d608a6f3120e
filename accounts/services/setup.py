"""The first account and the first team: by a one-time link, never by being the first to come."""

from datetime import timedelta
from typing import Final

from django.db import transaction
from django.utils import timezone

from accounts.audit.log import audit
from accounts.crypto.hashing import generate_secret, hash_secret
from accounts.errors import NotFound
from accounts.models import SetupLink, Team, User
from accounts.services.teams import create_team
from accounts.services.users import create_user

LIFETIME: Final = timedelta(hours=1)


def is_set_up() -> bool:
    """Whether somebody looks after this installation.

    Not whether there are accounts: where sign-up is open, a stranger's account must not shut out
    whoever runs the server.
    """
    return User.objects.filter(is_superuser=True).exists()


def create_setup_link() -> str | None:
    """Return the secret token of a new link, or None where the installation is set up.

    Nothing is written where it is set up: such a server starts while others write.
    """
    if is_set_up():
        return None
    token = generate_secret()
    with transaction.atomic():
        SetupLink.objects.filter(expires_at__lte=timezone.now()).delete()
        SetupLink.objects.create(digest=hash_secret(token), expires_at=timezone.now() + LIFETIME)
    return token


def get_setup_link(token: str) -> SetupLink:
    """Return the link of a token; raises NotFound if it is wrong, used or too old."""
    link = SetupLink.objects.filter(
        digest=hash_secret(token), used_at=None, expires_at__gt=timezone.now()
    ).first()
    if link is None or is_set_up():
        raise NotFound
    return link


@transaction.atomic
def complete_setup(
    *, token: str, name: str, email: str, password: str | None, team_name: str
) -> tuple[User, Team]:
    """Make the account that looks after this installation, and its team; the link is used up."""
    # Lock every link, not only this one: two different links must not both open.
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
