"""Services for connections to model providers. A stored key is never returned."""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

import httpx
from django.db import transaction
from django.db.models import RestrictedError
from django.utils.translation import gettext_lazy as _

from accounts import rate_limits
from accounts.audit.log import audit
from accounts.database import release_connection
from accounts.errors import Conflict, Invalid
from accounts.models import User
from accounts.names import clean_name
from accounts.permissions import access_team, lock_team
from agents.egress.guard import check_url
from agents.hooks import agent_hooks
from agents.models import Connection, ConnectionKind
from agents.permissions import MANAGE, access_connection
from agents.provider_keys import KeyUnreadable, decrypt, encrypt
from agents.services import connection_check
from agents.services.validation import clean_text, reject, unique_or_conflict, validate_row

DEMO_MODEL: Final = "demo"
MAX_NAME_LENGTH: Final = 80
MAX_MODELS: Final = 200
MAX_MODEL_LENGTH: Final = 200
MAX_KEY_LENGTH: Final = 1_000

MAX_CONNECTIONS: Final = 50
"""The connections of a team."""


class CheckedUrl(str):
    """A base URL that the egress guard has checked."""

    __slots__ = ()


def check_base_url(*, kind: str, base_url: str) -> CheckedUrl:
    """Return the base URL as it is stored; raise Invalid if the egress guard refuses it.

    Call it before a transaction starts: resolving the host name can take seconds.
    """
    if kind == ConnectionKind.DEMO:
        return CheckedUrl()
    url = clean_text(base_url).rstrip("/")
    if not url:
        reject("base_url", _("Enter the provider's address."))
    release_connection()
    try:
        check_url(url)
    except Invalid as refused:
        reject("base_url", refused.detail)
    return CheckedUrl(url)


def create_connection(
    *,
    user: User,
    team_id: UUID,
    name: str,
    kind: str,
    base_url: str = "",
    key: str = "",
    models: Iterable[str] = (),
) -> Connection:
    """Add a connection to the team; raise Invalid, which names the wrong fields.

    A `base_url` that is not a `CheckedUrl` is checked here.
    """
    team = access_team(user, team_id, MANAGE)
    connection = Connection(team=team, kind=kind, name=clean_name(name, max_length=MAX_NAME_LENGTH))
    if not isinstance(base_url, CheckedUrl):
        base_url = check_base_url(kind=kind, base_url=base_url)
    connection.base_url = base_url
    connection.model_names = _validate_models(kind, models)
    connection.key_encrypted = _encrypt_key(kind, key)
    with transaction.atomic():
        lock_team(user, team_id, MANAGE)  # the right may have ended during the name resolution
        if team.connections.count() >= MAX_CONNECTIONS:
            raise Conflict(_("This team has 50 connections. Delete one before you add another."))
        _save(connection)
        audit(
            user,
            "connection.created",
            connection.pk,
            team_id=team.pk,
            after=_audit_facts(connection),
        )
    return connection


def update_connection(
    *,
    user: User,
    connection_id: UUID,
    name: str | None = None,
    base_url: str | None = None,
    key: str | None = None,
    models: Iterable[str] | None = None,
) -> Connection:
    """Change the given fields. An empty `key` removes the stored key.

    A stored key is valid only for the origin that it was entered for, so a new origin removes the
    key. Removing a key ends the runs that use it (hook `connection_key_removed`).
    """
    current = access_connection(user, connection_id, MANAGE)
    # Resolve the host name before the transaction, so that other requests do not wait for it.
    new_url = None if base_url is None else check_base_url(kind=current.kind, base_url=base_url)
    with transaction.atomic():
        connection = _lock_connection(user, connection_id)
        before, old_key = _audit_facts(connection), connection.key_encrypted
        if new_url is not None and origin(new_url) != origin(connection.base_url):
            connection.key_encrypted = ""
        if new_url is not None:
            connection.base_url = new_url
        if key is not None:
            connection.key_encrypted = _encrypt_key(connection.kind, key)
        if name is not None:
            connection.name = clean_name(name, max_length=MAX_NAME_LENGTH)
        if models is not None:
            connection.model_names = _validate_models(connection.kind, models)
        _save(connection)
        if old_key and not connection.key_encrypted:
            for hooks in agent_hooks:
                hooks.connection_key_removed(connection)
        after = _audit_facts(connection) | {"key_changed": connection.key_encrypted != old_key}
        team_id = connection.team_id
        audit(user, "connection.changed", current.pk, team_id=team_id, before=before, after=after)
    return connection


@transaction.atomic
def delete_connection(*, user: User, connection_id: UUID) -> None:
    """Delete a connection and its key; raise Conflict while a persona uses the connection."""
    connection = _lock_connection(user, connection_id)
    team_id, before = connection.team_id, _audit_facts(connection)
    try:
        connection.delete()
    except RestrictedError:
        raise Conflict(
            _("Personas use this connection. Choose another connection for them first.")
        ) from None
    audit(user, "connection.deleted", connection_id, team_id=team_id, before=before)


def check_connection(
    *,
    user: User,
    connection_id: UUID,
    base_url: str | None = None,
    key: str = "",
    model: str | None = None,
) -> connection_check.CheckResult:
    """Check a connection as it is stored, or with values that are not saved yet.

    The stored key is sent only to the origin that it was entered for. Raise RateLimited.
    """
    stored = access_connection(user, connection_id, MANAGE)
    url = stored.base_url if base_url is None else clean_text(base_url)
    sent = clean_text(key)
    if not sent and stored.key_encrypted and origin(url) == origin(stored.base_url):
        try:
            sent = decrypt(stored.key_encrypted)
        except KeyUnreadable:
            unreadable = _("The stored key cannot be read any more. Enter it again.")
            return connection_check.CheckResult(False, str(unreadable))
    if model is None:
        model = next(iter(stored.model_names), "")
    rate_limits.consume(rate_limits.CHECK, user, team_id=stored.team_id)
    return _check(kind=stored.kind, base_url=url, key=sent, model=model)


def check_new_connection(
    *, user: User, team_id: UUID, kind: str, base_url: str, key: str, model: str = ""
) -> connection_check.CheckResult:
    """Check a connection that is not saved yet. Raise RateLimited."""
    access_team(user, team_id, MANAGE)
    rate_limits.consume(rate_limits.CHECK, user, team_id=team_id)
    return _check(kind=kind, base_url=clean_text(base_url), key=clean_text(key), model=model)


def _lock_connection(user: User, connection_id: UUID) -> Connection:
    """Like `access_connection`, under locks on the team and on the connection.

    Access is checked again under the locks: the right may have ended while this call waited, or
    while the caller resolved a host name.
    """
    team_id = access_connection(user, connection_id, MANAGE).team_id
    lock_team(user, team_id, MANAGE)
    locking = Connection.objects.select_for_update(no_key=True).filter(pk=connection_id)
    list(locking.values_list("pk"))
    return access_connection(user, connection_id, MANAGE)


def _check(*, kind: str, base_url: str, key: str, model: str) -> connection_check.CheckResult:
    try:
        _validate_key(key)
    except Invalid as refused:
        return connection_check.CheckResult(False, str(refused.detail))
    release_connection()
    return connection_check.check_provider(kind=kind, base_url=base_url, key=key, model=model)


def _save(connection: Connection) -> None:
    # The names have passed `_validate_models`, which allows an empty list; full_clean does not.
    validate_row(connection, exclude={"model_names"})
    with unique_or_conflict(
        "name", _("Another connection of this team has this name. Choose another one.")
    ):
        connection.save()


def _audit_facts(connection: Connection) -> dict[str, object]:
    """Return the values for the audit log, which does not contain the key."""
    return {
        "name": connection.name,
        "server": "{}://{}:{}".format(*origin(connection.base_url)),
        "models": connection.model_names,
        "has_key": bool(connection.key_encrypted),
    }


def _validate_models(kind: str, models: Iterable[str]) -> list[str]:
    if kind == ConnectionKind.DEMO:
        return [DEMO_MODEL]
    names = list(dict.fromkeys(name for name in map(clean_text, models) if name))
    if len(names) > MAX_MODELS:
        reject("models", _("Enter at most 200 models."))
    if any(len(name) > MAX_MODEL_LENGTH or not name.isprintable() for name in names):
        reject("models", _("Enter one model per line, with the name that the provider uses."))
    return names


def _encrypt_key(kind: str, key: str) -> str:
    key = clean_text(key)
    _validate_key(key)
    return encrypt(key) if key and kind != ConnectionKind.DEMO else ""


def _validate_key(key: str) -> None:
    """Raise Invalid for characters that a header value cannot carry (RFC 9110 §5.5), or a space."""
    if len(key) > MAX_KEY_LENGTH or not (key.isascii() and key.isprintable()) or " " in key:
        reject(
            "key", _("This is not a valid key: it has spaces or characters that a key cannot have.")
        )


def origin(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port (RFC 6454): a key for https must not be sent over http."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return ("", url, None)
    # httpx removes the scheme's default port, so `https://host` and `https://host:443` are equal.
    return (parsed.scheme, parsed.raw_host.decode("ascii").lower(), parsed.port)
