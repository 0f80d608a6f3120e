"""API tokens: with a bearer token a program acts as its user, over REST and sockets."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.audit.log import audit
from accounts.crypto.hashing import generate_secret, hash_secret
from accounts.errors import Conflict, Forbidden, Invalid, NotFound
from accounts.hooks import AccessRevoked, access_revoked
from accounts.models import ApiToken, Team, User
from accounts.names import require_name
from accounts.permissions import VIEW, access_team, lock_user
from accounts.scopes import ADMIN, READ, SCOPES, WRITE, Scope, check_scope, implied_scopes

PREFIX: Final = "maru_"
NAME_LENGTH: Final = 80
HINT_LENGTH: Final = 4
MAX_TOKENS: Final = 100
"""The tokens of one user, expired ones included."""
MAX_TOKEN_LIFETIME: Final = timedelta(days=3_653)


@transaction.atomic
def create_token(
    *,
    user: User,
    name: str,
    scopes: Iterable[str] = (READ, WRITE),
    team: Team | None = None,
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """Create a token; return it with its secret, which is not stored.

    The scope of the new token must be included in the scope of the current credential.
    """
    names = set(scopes)
    if not names or not names <= set(SCOPES):
        raise Invalid(fields={"scopes": _("Choose at least one of read, write and admin.")})
    scope = Scope(implied_scopes(names), team.pk if team else None, expires_at)
    check_can_create_token(user, scope)
    now = timezone.now()
    if expires_at is not None and not now < expires_at < now + MAX_TOKEN_LIFETIME:
        message = _("Choose a time in the future, at most ten years from now.")
        raise Invalid(fields={"expires_at": message})
    lock_user(user)
    if ApiToken.objects.filter(user=user).count() >= MAX_TOKENS:
        raise Conflict(_("You have 100 tokens. Revoke one before you create another."))
    secret = generate_secret(PREFIX)
    token = ApiToken.objects.create(
        user=user,
        team=team,
        name=require_name(name, max_length=NAME_LENGTH),
        scopes=[each for each in SCOPES if each in names],
        hint=secret[-HINT_LENGTH:],
        digest=hash_secret(secret),
        expires_at=expires_at,
    )
    after = {"scopes": token.scopes, "hint": token.hint}
    audit(user, "token.created", token.pk, team_id=token.team_id, after=after)
    return token, secret


def check_can_create_token(user: User, scope: Scope) -> None:
    """Raise unless `user`, with the current credential, may create a token with `scope`."""
    check_scope(user.scope, ADMIN)
    if scope.team_id is not None:
        access_team(user, scope.team_id, VIEW)
    if not user.scope.includes(scope):
        detail = _("A token can only create tokens with the same permissions or fewer.")
        raise Forbidden(detail, team_id=scope.team_id)


@transaction.atomic
def revoke_token(*, user: User, token_id: UUID) -> None:
    """Delete one of the user's tokens and close its connections."""
    check_scope(user.scope, ADMIN)
    token = ApiToken.objects.in_scope_of(user).filter(pk=token_id).first()
    if token is None or not ApiToken.objects.filter(pk=token_id).delete()[0]:
        raise NotFound
    access_revoked(AccessRevoked(user_id=user.pk, token_id=token_id))
    audit(user, "token.revoked", token_id, team_id=token.team_id, before={"hint": token.hint})


def user_for_token(secret: str) -> User | None:
    """Return the user of a valid token, or None. One hash and one query for every input."""
    return users_for_tokens([secret]).get(secret)


def users_for_tokens(secrets: Collection[str]) -> dict[str, User]:
    """Return the user of each valid token, by its secret; `user.scope` is the token's scope.

    One query for any number of tokens.
    """
    if not secrets:
        return {}
    secret_by_digest = {hash_secret(secret): secret for secret in secrets}
    found = {}
    valid = ApiToken.objects.valid().select_related("user")
    for token in valid.filter(digest__in=secret_by_digest):
        token.user.scope = Scope(
            implied_scopes(token.scopes),
            token.team_id,
            token.expires_at,
            token_hint=token.hint,
            token_id=token.pk,
        )
        found[secret_by_digest[token.digest]] = token.user
    return found
