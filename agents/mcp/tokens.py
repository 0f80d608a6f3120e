"""The access tokens of OAuth servers: read when a session opens, refreshed when they end.

An authorization server may accept a refresh token only once (RFC 6749 §6), and several runs may
need a new token at the same time. So one process at a time refreshes the tokens of a sign-in: it
holds a lease in the row. A row lock would do the same, but the request would take place inside the
transaction, and on SQLite no other process could write during it.

New tokens are stored before anything else is done, by a thread that neither a stop of the run nor
the end of the event loop interrupts. If the process dies between the response and the row, they
are lost: the lease expires in the row, the next refresh is refused, and a person is asked to sign
in again.
"""

import asyncio
import json
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from accounts.database import release_connection
from accounts.errors import is_outage
from accounts.models import TeamPermission, User
from accounts.permissions import CREATE_ROOM
from agents.mcp import oauth
from agents.mcp.oauth import Client, OAuthFailed, Tokens
from agents.mcp.threads import in_slow_thread, in_thread
from agents.mcp.transport import FailureCode, McpFailed
from agents.models import McpServer, McpSignIn
from agents.provider_keys import KeyUnreadable, decrypt, encrypt
from agents.tool_types import McpSpec

EARLY: Final = timedelta(seconds=60)
"""A token that ends so soon is refreshed before it is used."""
LEASE: Final = timedelta(seconds=2 * oauth.REQUEST_SECONDS)
WAIT_SECONDS: Final = 0.1
RETRY_SECONDS: Final = 0.5
STORE_SECONDS: Final = 120.0
"""How long new tokens wait for a database that is unavailable."""
ENDED: Final = frozenset({"invalid_grant", "refused"})
"""The failures of a refresh after which only a person can get tokens."""
KEPT: Final[dict[str, FailureCode]] = {
    "unreachable": "unreachable",
    "not_allowed": "not_allowed",
    "invalid_client": "unauthorized",
}
"""The failures of a refresh that say nothing about the refresh token."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _SignIn:
    """A row, decrypted. `client` is what refreshes it, `leased_until` the lease of a refresh.

    `is_doubtful` if the outcome of an earlier refresh is unknown.
    """

    pk: int
    tokens: Tokens
    is_ending: bool
    is_doubtful: bool
    client: Client
    leased_until: datetime | None = None


async def access_token(server: McpSpec, *, rejected: str = "") -> str:
    """Return an access token that is not `rejected`; raise McpFailed.

    The code `sign_in` means that a person has to sign in, at `sign_in_url`.
    """
    while True:
        token = await in_thread(_usable, server, rejected)
        token = token or await in_slow_thread(_refreshed, server, rejected)
        if token is not None:
            return token
        await asyncio.sleep(WAIT_SECONDS)


def access_token_sync(server: McpSpec) -> str:
    """Like `access_token`, for a thread of a web process."""
    while True:
        token = _usable(server, "") or _refreshed(server, "")
        if token is not None:
            return token
        time.sleep(WAIT_SECONDS)


def check_sign_in(server: McpSpec) -> None:
    """Raise McpFailed if there is no sign-in that a run may use, or if it has ended."""
    _check_asker(server)
    if not _sign_ins(server).exists():
        raise McpFailed("sign_in")


def _sign_ins(server: McpSpec) -> QuerySet[McpSignIn]:
    return McpSignIn.objects.filter(server=server.id, user=server.user, has_ended=False)


def _check_asker(server: McpSpec) -> None:
    """Raise McpFailed if the asker of a run may not use the own account: a guest keeps the row."""
    if server.user is None:
        return
    granted = TeamPermission.objects.filter(
        content_object=server.team_id, user=server.user, user__is_active=True
    )
    if not granted.filter(permission__codename=CREATE_ROOM).exists():
        raise McpFailed("guest")


def sign_in_url(server: UUID) -> str:
    """Return the public URL of the page where a person signs in to a server."""
    return settings.PUBLIC_URL.rstrip("/") + reverse("agents:mcp_sign_in", args=[server])


def store(server: McpServer, user: User | None, tokens: Tokens) -> McpSignIn:
    """Store the tokens of a sign-in, instead of those of an earlier one."""
    row, _ = McpSignIn.objects.update_or_create(server=server, user=user, defaults=_columns(tokens))
    return row


def _columns(tokens: Tokens) -> dict[str, object]:
    stored = json.dumps({"access": tokens.access, "refresh": tokens.refresh})
    return {
        "tokens_encrypted": encrypt(stored),
        "expires_at": tokens.expires_at,
        "refreshing_until": None,
        "has_ended": False,
    }


def _tokens_of(row: McpSignIn) -> Tokens:
    """Return the tokens of a row; raise KeyUnreadable."""
    stored = json.loads(decrypt(row.tokens_encrypted))
    return Tokens(stored["access"], stored["refresh"], row.expires_at)


def _read(server: McpSpec) -> _SignIn:
    """Return the sign-in that a run uses; raise McpFailed if there is none that it may use."""
    _check_asker(server)
    row = _sign_ins(server).select_related("server").first()
    if row is None:
        raise McpFailed("sign_in")
    if row.server.url != server.url:  # the tokens may be those of the new address
        raise McpFailed("removed")
    try:
        tokens = _tokens_of(row)
        client = oauth.stored_client(row.server.oauth)
    except (KeyUnreadable, KeyError):
        log.error("mcp.sign_in_unreadable", server=str(server.id))
        raise McpFailed("sign_in") from None
    return _SignIn(
        pk=row.pk,
        tokens=tokens,
        is_ending=row.expires_at is not None and row.expires_at - EARLY < timezone.now(),
        is_doubtful=row.refreshing_until is not None,
        client=client,
    )


def _usable(server: McpSpec, rejected: str) -> str | None:
    """Return the stored access token, None if it has to be refreshed; raise McpFailed."""
    sign_in = _read(server)
    if sign_in.tokens.access != rejected and not sign_in.is_ending:
        return sign_in.tokens.access
    return None


def _refreshed(server: McpSpec, rejected: str) -> str | None:
    """Refresh the tokens, and return the new access token; raise McpFailed.

    None says that another process refreshes them, or that they were replaced: the caller reads
    again.
    """
    sign_in = _read(server)
    if sign_in.tokens.access != rejected and not sign_in.is_ending:
        return sign_in.tokens.access
    if not sign_in.tokens.refresh:
        _end(McpSignIn.objects.filter(pk=sign_in.pk, refreshing_until=None))
        raise McpFailed("sign_in")
    leased = _with_lease(server, sign_in)
    if leased is None:
        return None
    release_connection()
    return _until_stored(leased, _refresh(leased, server.team_id))


def _with_lease(server: McpSpec, sign_in: _SignIn) -> _SignIn | None:
    """Take the lease of a sign-in, and return it; None if another process has or had it."""
    now = timezone.now()
    free = Q(refreshing_until=None) | Q(refreshing_until__lte=now)
    lease = now + LEASE
    rows = McpSignIn.objects.filter(pk=sign_in.pk)
    if not rows.filter(free).update(refreshing_until=lease):
        return None
    # The tokens may have been replaced between the first read and the lease.
    if _read(server).tokens.refresh != sign_in.tokens.refresh:
        rows.filter(refreshing_until=lease).update(refreshing_until=None)
        return None
    return replace(sign_in, leased_until=lease)


def _refresh(sign_in: _SignIn, team_id: UUID) -> Tokens | OAuthFailed:
    try:
        return asyncio.run(oauth.refresh(sign_in.client, sign_in.tokens.refresh, team_id))
    except OAuthFailed as failure:
        return failure


def _until_stored(sign_in: _SignIn, outcome: Tokens | OAuthFailed) -> str | None:
    """Store the outcome of a refresh; retry while the database is unavailable: see `_store`."""
    ends_at = time.monotonic() + STORE_SECONDS
    while True:
        try:
            return _store(sign_in, outcome)
        except DatabaseError as error:
            if not is_outage(error) or time.monotonic() > ends_at:
                raise
            log.warning("mcp.tokens_not_stored", error=type(error).__name__)
        release_connection()
        time.sleep(RETRY_SECONDS)


def _store(sign_in: _SignIn, outcome: Tokens | OAuthFailed) -> str | None:
    """Store the outcome of a refresh, and return the new access token; raise McpFailed.

    Return None, and change nothing, if a person has signed in or out since.
    """
    if isinstance(outcome, Tokens):
        return outcome.access if _replace(sign_in, outcome) else None
    log.info("mcp.refresh_failed", error=outcome.code)
    row = McpSignIn.objects.filter(pk=sign_in.pk, refreshing_until=sign_in.leased_until)
    is_lost = sign_in.is_doubtful and outcome.code not in KEPT
    if outcome.code in ENDED or is_lost:
        if _end(row):
            raise McpFailed("sign_in")
    # The lease has expired now, and is not empty: the server may have used the refresh token up.
    elif row.update(refreshing_until=timezone.now()):
        raise McpFailed(KEPT.get(outcome.code, "unauthorized"))
    return None


@transaction.atomic
def _replace(sign_in: _SignIn, new: Tokens) -> bool:
    """Store the tokens that have come for those of `sign_in`, whoever has the lease now.

    The database may have been unavailable for longer than the lease, and the process that took it
    over has only been refused, because these tokens were issued already.
    """
    row = McpSignIn.objects.select_for_update().filter(pk=sign_in.pk).first()
    try:
        if row is None or _tokens_of(row).refresh != sign_in.tokens.refresh:
            return False
    except KeyUnreadable:
        return False
    return bool(McpSignIn.objects.filter(pk=row.pk).update(**_columns(new)))


def _end(row: QuerySet[McpSignIn]) -> bool:
    """Store that a person has to sign in again; return False if the row is another one now."""
    servers = list(row.filter(user=None).values_list("server", flat=True))
    if not row.update(has_ended=True, refreshing_until=None):
        return False
    McpServer.objects.filter(pk__in=servers).update(problem="sign_in")
    return True
