"""Which users have two-step sign-in, and which teams require it.

If a user has a second factor, every session of the user has passed it: sign-in requires the factor,
and adding the first factor ends the other sessions.
"""

from typing import Final

from allauth.mfa.models import Authenticator
from django.db import models

from accounts.errors import MfaRequired
from accounts.models import Team, TeamMember, User

FACTORS: Final = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


def has_mfa(user: User) -> bool:
    """Return True if the user has a second factor."""
    found: bool = Authenticator.objects.filter(user=user, type__in=FACTORS).exists()
    return found


def mfa_enabled(user: models.OuterRef | object) -> models.Exists:
    """Return `has_mfa` as a query expression."""
    return models.Exists(Authenticator.objects.filter(user=user, type__in=FACTORS))


def lacks_required_mfa(user: models.OuterRef) -> models.Exists:
    """Return a query expression: a team of the user requires MFA, and the user has none."""
    required = TeamMember.objects.filter(user=user, team__require_mfa=True)
    return models.Exists(required.exclude(mfa_enabled(models.OuterRef("user"))))


def check_mfa(team: Team, *, has_mfa: bool) -> None:
    """Raise MfaRequired if the team requires MFA and the user has none, for sessions and tokens.

    Permission checks get `has_mfa` by `mfa_enabled`, in the query that reads the permissions.
    """
    if team.require_mfa and not has_mfa:
        raise MfaRequired(team_id=team.pk)
