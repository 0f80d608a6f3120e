"""The second step of signing in: who has one, which team asks for it, how allauth keeps it.

Whoever has one has passed it in every session: signing in asks for it, and setting it up ends the
sessions that were there before.
"""

from typing import Final
from urllib.parse import urlsplit

import qrcode
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.usersessions.adapter import DefaultUserSessionsAdapter
from allauth.usersessions.models import UserSession
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models, transaction
from django.utils.functional import Promise
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from qrcode.image.svg import SvgPathImage

from accounts.audit.log import audit
from accounts.crypto.keys import derive_key
from accounts.errors import MfaRequired, Unavailable
from accounts.models import Team, TeamMember, User
from accounts.revocation import Ending, access_ended

FACTORS: Final = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
_PURPOSE: Final = b"maru: secrets of second factors, version 1"


def has_mfa(user: User) -> bool:
    """Whether the user signs in by two steps."""
    found: bool = Authenticator.objects.filter(user=user, type__in=FACTORS).exists()
    return found


def mfa_enabled(user: models.OuterRef | object) -> models.Exists:
    """Return the same question for a query."""
    return models.Exists(Authenticator.objects.filter(user=user, type__in=FACTORS))


def lacks_required_mfa(user: models.OuterRef) -> models.Exists:
    """Whether a team of theirs asks for two steps and they have one, for a query."""
    asked = TeamMember.objects.filter(user=user, team__require_mfa=True)
    return models.Exists(asked.exclude(mfa_enabled(models.OuterRef("user"))))


def check_mfa(team: Team, *, two_steps: bool) -> None:
    """Raise MfaRequired where the team asks for two steps and the user has one; tokens alike.

    The gates learn `two_steps` by `mfa_enabled` in the query that asks for the right.
    """
    if team.require_mfa and not two_steps:
        raise MfaRequired(team_id=team.pk)


class MfaAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # allauth has no types
    """Maru's answers to allauth's second step."""

    error_messages: Final[dict[str, str | Promise]] = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": _("This code is not right, or was used already."),
    }

    def encrypt(self, text: str) -> str:
        """Seal what would let a reader of the database sign in."""
        return _fernet().encrypt(text.encode()).decode("ascii")

    def decrypt(self, encrypted_text: str) -> str:
        """Open what `encrypt` has sealed. Raises Unavailable under another secret key."""
        try:
            return _fernet().decrypt(encrypted_text.encode()).decode()
        except InvalidToken:
            raise Unavailable(
                _("Your second step can no longer be read. Ask whoever runs this server.")
            ) from None

    def build_totp_svg(self, url: str) -> SafeString:
        """Draw the code as a part of the page: our pages load no `data:` picture."""
        drawn = qrcode.make(url, image_factory=SvgPathImage).to_string(encoding="unicode")
        return mark_safe(str(drawn))  # noqa: S308  # drawn by us, of squares

    def generate_authenticator_name(self, user: User, type: str) -> str:  # noqa: A002  # allauth's
        """Propose a name that says what it is: the first passkey is no master of the others."""
        number = Authenticator.objects.filter(user=user, type=type).count() + 1
        return gettext("Passkey %(number)s") % {"number": number}

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """Name ourselves to passkeys by our public address, whatever the Host header says."""
        entity: dict[str, str] = super().get_public_key_credential_rp_entity()
        if settings.HTTPS:
            entity["id"] = urlsplit(settings.PUBLIC_URL).hostname or ""
        return {**entity, "name": "Maru"}


class SessionsAdapter(DefaultUserSessionsAdapter):  # type: ignore[misc]  # allauth has no types
    """Ends sessions together with what is open under them."""

    @transaction.atomic
    def end_sessions(self, sessions: list[UserSession]) -> None:
        """End them, their sockets too."""
        super().end_sessions(sessions)
        for session in sessions:
            access_ended(Ending(user_id=session.user_id, session_key=session.session_key))
        if sessions:
            user = sessions[0].user
            audit(user, "user.sessions_ended", user.pk, after={"sessions": len(sessions)})


@transaction.atomic
def reencrypt_secrets() -> int:
    """Seal every secret under the newest secret key; return how many could not be read."""
    unreadable = 0
    for factor in Authenticator.objects.select_for_update().exclude(type="webauthn"):
        name = "secret" if factor.type == Authenticator.Type.TOTP else "seed"
        try:
            factor.data[name] = _fernet().rotate(factor.data[name].encode()).decode("ascii")
        except InvalidToken:
            unreadable += 1
        else:
            factor.save(update_fields=["data"])
    return unreadable


def _fernet() -> MultiFernet:
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return MultiFernet([Fernet(derive_key(secret, _PURPOSE)) for secret in secrets])
