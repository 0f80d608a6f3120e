"""The access tokens of OAuth servers: read when a session opens, refreshed when they end.

An authorization server may accept a refresh token only once (RFC 6749 §6), and several runs may
need a new token at the same time. So one process at a time refreshes the tokens of a sign-in: it
holds a lease in the row. A row lock would do the same, but the request would take place inside the
transaction, and on SQLite no other process could write during it.
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
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from accounts.database import release_connection
from accounts.models import User
from agents.mcp import oauth
from agents.mcp.oauth import Client, OAuthFailed, Tokens
from agents.mcp.threads import in_thread
from agents.mcp.transport import McpFailed
from agents.models import McpServer, McpSignIn
from agents.provider_keys import KeyUnreadable, decrypt, encrypt
from agents.tool_types import McpSpec

EARLY: Final = timedelta(seconds=60)
"""A token that ends so soon is refreshed before it is used."""
LEASE: Final = timedelta(seconds=2 * oauth.REQUEST_SECONDS)
WAIT_SECONDS: Final = 0.1

log = structlog.get_logger(__name__)

_refreshing: Final[set[asyncio.Task[str | None]]] = set()
"""The refreshes of runs. The event loop has only weak references to its tasks."""


@dataclass(frozen=True, slots=True)
class _SignIn:
    """A row, decrypted. `client` is what refreshes it, `leased_until` the lease of a refresh."""

    pk: int
    tokens: Tokens
    is_ending: bool
    client: Client
    leased_until: datetime | None = None


async def access_token(server: McpSpec, *, rejected: str = "") -> str:
    """Return an access token that is not `rejected`; raise McpFailed.

    The code `sign_in` means that a person has to sign in, at `sign_in_url`.
    """
    while True:
        found = await in_thread(_next_step, server, rejected)
        if isinstance(found, str):
            return found
        if found is None:
            await asyncio.sleep(WAIT_SECONDS)
            continue
        # A run that is stopped does not end the refresh: its refresh token may be used up already.
        task = asyncio.create_task(_refresh_and_store(found, server.team_id))
        _refreshing.add(task)
        task.add_done_callback(_refreshing.discard)
        if (token := await asyncio.shield(task)) is not None:
            return token


def access_token_sync(server: McpSpec) -> str:
    """Like `access_token`, for a thread of a web process."""
    while True:
        found = _next_step(server, "")
        if isinstance(found, str):
            return found
        if found is None:
            time.sleep(WAIT_SECONDS)
            continue
        release_connection()
        token = _finish(found, asyncio.run(_refresh(found, server.team_id)))
        if token is not None:
            return token


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
    }


def _read(server_id: UUID, user: UUID | None) -> _SignIn | None:
    row = McpSignIn.objects.select_related("server").filter(server=server_id, user=user).first()
    if row is None:
        return None
    try:
        stored = json.loads(decrypt(row.tokens_encrypted))
        client = oauth.stored_client(row.server.oauth)
    except (KeyUnreadable, KeyError):
        log.error("mcp.sign_in_unreadable", server=str(server_id))
        return None
    now = timezone.now()
    return _SignIn(
        pk=row.pk,
        tokens=Tokens(stored["access"], stored["refresh"], row.expires_at),
        is_ending=row.expires_at is not None and row.expires_at - EARLY < now,
        client=client,
    )


def _next_step(server: McpSpec, rejected: str) -> str | _SignIn | None:
    """Return a usable token; else a sign-in whose lease this process has taken; else None: wait."""
    sign_in = _read(server.id, server.user)
    if sign_in is None:
        raise McpFailed("sign_in")
    if sign_in.tokens.access != rejected and not sign_in.is_ending:
        return sign_in.tokens.access
    if not sign_in.tokens.refresh:
        raise McpFailed("sign_in")
    lease = _take_lease(sign_in.pk)
    if lease is None:
        return None
    # The tokens may have been replaced between the first read and the lease.
    latest = _read(server.id, server.user)
    if latest is None or latest.tokens.refresh != sign_in.tokens.refresh:
        McpSignIn.objects.filter(pk=sign_in.pk, refreshing_until=lease).update(
            refreshing_until=None
        )
        return None
    return replace(sign_in, leased_until=lease)


def _take_lease(pk: int) -> datetime | None:
    """Take the lease of a sign-in, and return its end; None if another process has it."""
    now = timezone.now()
    free = Q(refreshing_until=None) | Q(refreshing_until__lte=now)
    lease = now + LEASE
    return lease if McpSignIn.objects.filter(free, pk=pk).update(refreshing_until=lease) else None


async def _refresh_and_store(sign_in: _SignIn, team_id: UUID) -> str | None:
    outcome = await _refresh(sign_in, team_id)
    return await in_thread(_finish, sign_in, outcome)


async def _refresh(sign_in: _SignIn, team_id: UUID) -> Tokens | OAuthFailed:
    try:
        return await oauth.refresh(sign_in.client, sign_in.tokens.refresh, team_id)
    except OAuthFailed as failure:
        return failure


def _finish(sign_in: _SignIn, outcome: Tokens | OAuthFailed) -> str | None:
    """Store the new tokens, as the holder of the lease, and return the access token.

    Return None, and change nothing, if a person has signed in or out since: the caller reads again.
    """
    row = McpSignIn.objects.filter(pk=sign_in.pk, refreshing_until=sign_in.leased_until)
    if isinstance(outcome, Tokens):
        return outcome.access if row.update(**_columns(outcome)) else None
    log.info("mcp.refresh_failed", error=outcome.code)
    if outcome.code == "invalid_grant":  # the authorization server has ended the sign-in
        deleted, _ = row.delete()
        if deleted:
            raise McpFailed("sign_in")
    elif row.update(refreshing_until=None):
        raise McpFailed("unauthorized")
    return None
