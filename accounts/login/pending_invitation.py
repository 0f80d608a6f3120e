"""The invitation that a session holds while its user signs up or signs in.

The session stores only the hash of the invitation's token: read access to the sessions must not be
enough to join a team.
"""

from typing import Final

from django.conf import settings
from django.http import HttpRequest

from accounts.crypto.hashing import hash_secret
from accounts.errors import NotFound
from accounts.models import Invitation
from accounts.services import get_invitation, get_invitation_by_digest
from accounts.services.invitations import check_recipient, count_signup

_KEY: Final = "invitation"


def store(request: HttpRequest, token: str) -> None:
    """Store an invitation in the session. Raises NotFound if it is not valid."""
    get_invitation(token)
    request.session[_KEY] = hash_secret(token)


def load(request: HttpRequest) -> Invitation | None:
    """Return the invitation of the session, or None if there is none or it is not valid."""
    digest = request.session.get(_KEY)
    if not digest:
        return None
    try:
        return get_invitation_by_digest(digest)
    except NotFound:
        return None


def clear(request: HttpRequest) -> None:
    """Remove the invitation from the session."""
    request.session.pop(_KEY, None)


def check_email(request: HttpRequest, email: str) -> None:
    """Raise Forbidden if sign-up needs the stored invitation, and it is for another email."""
    invitation = load(request)
    if invitation is not None and settings.SIGNUP != "open":
        check_recipient(invitation, email)


def consume_signup(request: HttpRequest, email: str) -> None:
    """Count one sign-up on the stored invitation, unless sign-up is open to everyone.

    Raises NotFound if the session has no valid invitation, Forbidden if the invitation is for
    another email or has no sign-up left.
    """
    if settings.SIGNUP == "open":
        return
    invitation = load(request)
    if invitation is None:
        raise NotFound
    count_signup(invitation, email)
