"""Bearer tokens: by them programs act as a user, on HTTP and on the socket alike."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.audit.log import audit
from accounts.crypto.hashing import digest_of, new_secret
from accounts.errors import Forbidden, Invalid, NotFound
from accounts.gate import VIEW, access_team
from accounts.models import ApiToken, Team, User
from accounts.names import required_name
from accounts.revocation import Ending, access_ended
from accounts.scopes import ADMIN, READ, SCOPES, WRITE, Reach, check_scope, scopes_up_to

PREFIX: Final = "maru_"
NAME_LENGTH: Final = 80
HINT_LENGTH: Final = 4
LONGEST_LIFE: Final = timedelta(days=3_653)


@dataclass(frozen=True, slots=True)
class TokenBearer:
    """Whoever showed a valid token; `user.reach` is as far as that token goes."""

    user: User
    token_id: UUID


@transaction.atomic
def make_token(
    *,
    user: User,
    name: str,
    scopes: Iterable[str] = (READ, WRITE),
    team: Team | None = None,
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """Make a token; return it with its secret, which nobody can read again.

    By a token one gets no token that goes further.
    """
    wanted = _known(scopes)
    check_may_make_token(user, Reach(scopes_up_to(wanted), team.pk if team else None, expires_at))
    if expires_at is not None and not timezone.now() < expires_at < timezone.now() + LONGEST_LIFE:
        raise Invalid(fields={"expires_at": _("Choose a time to come, within ten years.")})
    secret = new_secret(PREFIX)
    token = ApiToken.objects.create(
        user=user,
        team=team,
        name=required_name(name, longest=NAME_LENGTH),
        scopes=wanted,
        hint=secret[-HINT_LENGTH:],
        digest=digest_of(secret),
        expires_at=expires_at,
    )
    given = {"scopes": wanted, "hint": token.hint}
    audit(user, "token.created", token.pk, team_id=token.team_id, after=given)
    return token, secret


def check_may_make_token(user: User, reach: Reach) -> None:
    """Raise unless `user` may make a token that reaches so far."""
    check_scope(user.reach, ADMIN)
    if reach.team_id is not None:
        access_team(user, reach.team_id, VIEW)
    if not user.reach.covers(reach):
        detail = _("A token cannot make one that goes further than itself.")
        raise Forbidden(detail, team_id=reach.team_id)


@transaction.atomic
def revoke_token(*, user: User, token_id: UUID) -> None:
    """Make one of the user's own tokens dead, everywhere and at once."""
    check_scope(user.reach, ADMIN)
    token = ApiToken.objects.within_reach_of(user).filter(pk=token_id).first()
    if token is None or not ApiToken.objects.filter(pk=token_id).delete()[0]:
        raise NotFound
    access_ended(Ending(user_id=user.pk, token_id=token_id))
    audit(user, "token.revoked", token_id, team_id=token.team_id, before={"hint": token.hint})


def user_for_token(secret: str) -> TokenBearer | None:
    """Return who shows a token, or None: one digest and one query, whatever is wrong with it."""
    return users_for_tokens([secret]).get(secret)


def users_for_tokens(secrets: Collection[str]) -> dict[str, TokenBearer]:
    """Return who shows which of these tokens; one query, however many they are."""
    if not secrets:
        return {}
    shown = {digest_of(secret): secret for secret in secrets}
    alive = ApiToken.objects.alive().select_related("user").filter(digest__in=shown)
    return {shown[token.digest]: _bearer(token) for token in alive}


def _bearer(token: ApiToken) -> TokenBearer:
    token.user.reach = Reach(
        scopes_up_to(token.scopes),
        token.team_id,
        token.expires_at,
        token_hint=token.hint,
        token_id=token.pk,
    )
    return TokenBearer(user=token.user, token_id=token.pk)


def _known(scopes: Iterable[str]) -> list[str]:
    wanted = set(scopes)
    if not wanted or not wanted <= set(SCOPES):
        raise Invalid(fields={"scopes": _("Choose at least one of read, write and admin.")})
    return [scope for scope in SCOPES if scope in wanted]
