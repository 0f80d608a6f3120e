"""Connections to the providers of models. A key goes in and never comes out again."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
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
from accounts.permissions import access_team
from agents.egress.guard import check_url
from agents.hooks import key_taken
from agents.models import Connection, ConnectionKind
from agents.permissions import MANAGE, access_connection
from agents.secrets import KeyUnreadable, decrypt, encrypt, rotate
from agents.services import connection_check
from agents.services.cleaning import check_row, clean_text, one_of_a_kind, refuse

DEMO_MODEL: Final = "demo"
NAME_LENGTH: Final = 80
MOST_MODELS: Final = 200
LONGEST_MODEL: Final = 200
LONGEST_KEY: Final = 1_000


class LookedUp(str):
    """An address of a provider whose host has been looked up and may be asked."""

    __slots__ = ()


def look_up(*, kind: str, base_url: str) -> LookedUp:
    """Return the address as it is stored; raises Invalid where we ask nobody there.

    Resolving a name may take seconds: whoever is about to begin a transaction does it before.
    """
    if kind == ConnectionKind.DEMO:
        return LookedUp()
    url = clean_text(base_url).rstrip("/")
    if not url:
        refuse("base_url", _("Enter the provider's address."))
    release_connection()
    try:
        check_url(url)
    except Invalid as refused:
        refuse("base_url", refused.detail)
    return LookedUp(url)


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
    """Add a connection to the team. Raises Invalid with the fields that are wrong.

    An address that is not `LookedUp` is looked up here.
    """
    team = access_team(user, team_id, MANAGE)
    connection = Connection(team=team, kind=kind, name=clean_name(name, longest=NAME_LENGTH))
    if not isinstance(base_url, LookedUp):
        base_url = look_up(kind=kind, base_url=base_url)
    connection.base_url = base_url
    connection.model_names = _checked_models(kind, models)
    connection.key_encrypted = _sealed(kind, key)
    with transaction.atomic():
        _save(connection)
        audit(user, "connection.created", connection.pk, team_id=team.pk, after=_facts(connection))
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
    """Change what is given. An empty `key` takes the stored one away.

    A stored key belongs to the server it was entered for: another address drops it. What is being
    answered by a key that goes ends with it.
    """
    seen = access_connection(user, connection_id, MANAGE)
    # The name of a host is looked up here, before a transaction makes others wait for it.
    new_url = None if base_url is None else look_up(kind=seen.kind, base_url=base_url)
    with transaction.atomic():
        connection = Connection.objects.select_for_update(no_key=True).get(pk=seen.pk)
        before, old_key = _facts(connection), connection.key_encrypted
        if new_url is not None and _server(new_url) != _server(connection.base_url):
            connection.key_encrypted = ""
        if new_url is not None:
            connection.base_url = new_url
        if key is not None:
            connection.key_encrypted = _sealed(connection.kind, key)
        if name is not None:
            connection.name = clean_name(name, longest=NAME_LENGTH)
        if models is not None:
            connection.model_names = _checked_models(connection.kind, models)
        _save(connection)
        if old_key and not connection.key_encrypted:
            key_taken(connection)
        after = _facts(connection) | {"key_changed": connection.key_encrypted != old_key}
        team_id = connection.team_id
        audit(user, "connection.changed", seen.pk, team_id=team_id, before=before, after=after)
    return connection


@transaction.atomic
def delete_connection(*, user: User, connection_id: UUID) -> None:
    """Remove a connection and its key. Raises Conflict while a persona answers through it."""
    connection = access_connection(user, connection_id, MANAGE)
    team_id, before = connection.team_id, _facts(connection)
    try:
        connection.delete()
    except RestrictedError:
        raise Conflict(
            _("Personas answer through this connection. Give them another one first.")
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
    """Try a connection as it is stored, or with what is given and not saved yet.

    The stored key is never sent to another server than the one it was entered for.
    """
    stored = access_connection(user, connection_id, MANAGE)
    url = stored.base_url if base_url is None else clean_text(base_url)
    sent = clean_text(key)
    if not sent and stored.key_encrypted and _server(url) == _server(stored.base_url):
        try:
            sent = decrypt(stored.key_encrypted)
        except KeyUnreadable:
            return connection_check.CheckResult(False, _unreadable())
    if model is None:
        model = next(iter(stored.model_names), "")
    rate_limits.consume(rate_limits.CHECK, user, team_id=stored.team_id)
    return _check(kind=stored.kind, base_url=url, key=sent, model=model)


def check_new_connection(
    *, user: User, team_id: UUID, kind: str, base_url: str, key: str, model: str = ""
) -> connection_check.CheckResult:
    """Try a connection before it is saved."""
    access_team(user, team_id, MANAGE)
    rate_limits.consume(rate_limits.CHECK, user, team_id=team_id)
    return _check(kind=kind, base_url=clean_text(base_url), key=clean_text(key), model=model)


def rotate_keys() -> int:
    """Encrypt every stored key under the newest secret key, and return how many there were.

    Those that cannot be read stay as they are: `unreadable_keys` finds them.
    """
    rotated = 0
    for pk, stored in _stored_keys():
        with suppress(KeyUnreadable):
            # A key that somebody enters meanwhile is under the newest secret key already.
            same = Connection.objects.filter(pk=pk, key_encrypted=stored)
            rotated += same.update(key_encrypted=rotate(stored))
    return rotated


def unreadable_keys() -> list[UUID]:
    """Return the connections whose stored key no secret key of this process can read."""
    return [pk for pk, stored in _stored_keys() if not _is_readable(stored)]


def _stored_keys() -> Iterator[tuple[UUID, str]]:
    with_key = Connection.objects.exclude(key_encrypted="").order_by("pk")
    return with_key.values_list("pk", "key_encrypted").iterator()


def _is_readable(stored: str) -> bool:
    try:
        decrypt(stored)
    except KeyUnreadable:
        return False
    return True


def _check(*, kind: str, base_url: str, key: str, model: str) -> connection_check.CheckResult:
    try:
        _checked_key(key)
    except Invalid as refused:
        return connection_check.CheckResult(False, str(refused.detail))
    release_connection()
    return connection_check.check_connection(kind=kind, base_url=base_url, key=key, model=model)


def _save(connection: Connection) -> None:
    check_row(connection, exclude={"model_names"})  # checked already; none may be known yet
    with one_of_a_kind("name", _("Another connection of this team has this name.")):
        connection.save()


def _facts(connection: Connection) -> dict[str, object]:
    """What the audit tells of a connection: of the key only that there is one."""
    return {
        "name": connection.name,
        "server": "{}://{}:{}".format(*_server(connection.base_url)),
        "models": connection.model_names,
        "has_key": bool(connection.key_encrypted),
    }


def _checked_models(kind: str, models: Iterable[str]) -> list[str]:
    if kind == ConnectionKind.DEMO:
        return [DEMO_MODEL]
    names = list(dict.fromkeys(name for name in map(clean_text, models) if name))
    if len(names) > MOST_MODELS:
        refuse("models", _("Name at most 200 models."))
    if any(len(name) > LONGEST_MODEL or not name.isprintable() for name in names):
        refuse("models", _("Write one model per line, as the provider names it."))
    return names


def _sealed(kind: str, key: str) -> str:
    key = clean_text(key)
    _checked_key(key)
    return encrypt(key) if key and kind != ConnectionKind.DEMO else ""


def _checked_key(key: str) -> None:
    """A key travels in a header, so it must be of letters that a header can carry."""
    if len(key) > LONGEST_KEY or not (key.isascii() and key.isprintable()) or " " in key:
        refuse("key", _("This is not a key: it has spaces or letters that no key has."))


def _server(url: str) -> tuple[str, str, int | None]:
    """The scheme counts: a key entered for https must not go out over http."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return ("", url, None)
    # httpx leaves out a port that is the scheme's own, so both ways of writing it are one.
    return (parsed.scheme, parsed.raw_host.decode("ascii").lower(), parsed.port)


def _unreadable() -> str:
    return str(_("The stored key can no longer be read. Enter it again."))
