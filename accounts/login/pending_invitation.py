"""The invitation that somebody's session holds, while they sign up or sign in to accept it.

Only the digest is kept there: a session row must not be a key to a team.
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


def hold(request: HttpRequest, token: str) -> None:
    """Keep an invitation for the next pages; raises NotFound if its link no longer opens."""
    get_invitation(token)
    request.session[_KEY] = hash_secret(token)


def invitation(request: HttpRequest) -> Invitation | None:
    """Return the invitation that is held, if it still opens."""
    digest = request.session.get(_KEY)
    if not digest:
        return None
    try:
        return get_invitation_by_digest(digest)
    except NotFound:
        return None


def check_address(request: HttpRequest, address: str) -> None:
    """Raise Forbidden where the invitation that is held is for the person with another address."""
    held = invitation(request)
    if held is not None and settings.SIGNUP != "open":
        check_recipient(held, address)


def count_account(request: HttpRequest, address: str) -> None:
    """Let one account be made, by the invitation where signing up takes one."""
    if settings.SIGNUP == "open":
        return
    held = invitation(request)
    if held is None:
        raise NotFound
    count_signup(held, address)


def let_go(request: HttpRequest) -> None:
    """Forget it."""
    request.session.pop(_KEY, None)
